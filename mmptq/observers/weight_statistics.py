"""Exact statistics of a tensor that is at hand whole."""

import math

import torch
from torch import Tensor
from typing_extensions import override

from mmptq.errors import CalibrationDataError, NumericalError
from mmptq.observers.statistics import Statistics, quant_grid
from mmptq.ops import QuantScheme

_CHUNK = 1 << 18  # (candidate, value) pairs at a time


class WeightStatistics(Statistics):
    """Exact statistics of a weight tensor.

    Args:
        weight: Any shape; float64 is rounded to float32.
        ch_axis: Channel axis, or None for the tensor as a whole.

    Raises:
        NumericalError: ``weight`` holds NaN or Inf.
        CalibrationDataError: ``weight`` is empty.
    """

    def __init__(self, weight: Tensor, ch_axis: int | None) -> None:
        if not weight.numel():
            raise CalibrationDataError(f"the weight is empty: shape {tuple(weight.shape)}")
        values = weight.detach().float()
        finite = values.isfinite()
        if not finite.all():
            nans, infs = int(values.isnan().sum()), int(values.isinf().sum())
            raise NumericalError(f"{nans} NaN and {infs} Inf among {values.numel()} weights")
        self._per_channel = ch_axis is not None
        rows = values[None] if ch_axis is None else values.movedim(ch_axis, 0)
        self.values = rows.reshape(rows.shape[0], -1)
        self._low, self._high = torch.aminmax(self.values, dim=1)

    def _shaped(self, per_row: Tensor) -> Tensor:
        """Drop the channel dimension, which is last, of a per-tensor answer."""
        return per_row if self._per_channel else per_row.squeeze(-1)

    @property
    @override
    def low(self) -> Tensor:
        return self._shaped(self._low)

    @property
    @override
    def high(self) -> Tensor:
        return self._shaped(self._high)

    @override
    def image_ranges(self) -> tuple[Tensor, Tensor]:
        return self.low[None], self.high[None]

    @property
    @override
    def num_values(self) -> int:
        return self.values.shape[1]

    @override
    def mean(self) -> Tensor:
        return self._shaped(self.values.mean(dim=1, dtype=torch.float64))

    @override
    def abs_moment(
        self, order: float, center: Tensor | float = 0.0, skip_zeros: bool = False
    ) -> Tensor:
        middle = torch.as_tensor(center, dtype=torch.float64, device=self.values.device)
        terms = (self.values - middle.reshape(-1, 1)).abs_().pow_(order)
        if not skip_zeros:
            return self._shaped(terms.mean(dim=1))
        used = self.values != 0
        return self._shaped((terms * used).sum(dim=1) / used.sum(dim=1).clamp(min=1))

    @override
    def quantile(self, q: float) -> Tensor:
        # torch.quantile refuses more than 2^24 values, which a fully connected layer can have.
        rank = q * (self.values.shape[1] - 1)
        below, above = math.floor(rank), math.ceil(rank)
        left = self.values.kthvalue(below + 1, dim=1).values
        right = self.values.kthvalue(above + 1, dim=1).values if above > below else left
        return self._shaped(torch.lerp(left, right, rank - below))

    @override
    def lp_error(self, low: Tensor, high: Tensor, scheme: QuantScheme, p: float) -> Tensor:
        grid = quant_grid(low, high, scheme)
        shape = (low.shape[0], self.values.shape[0], 1)
        scale, bottom, top = (t.float().reshape(shape) for t in (grid.scale, grid.bottom, grid.top))
        columns = self.values.shape[1]
        rows_at_once = max(1, _CHUNK // columns)
        error = scale.new_empty(shape[:2], dtype=torch.float64)
        for row in range(0, shape[1], rows_at_once):
            rows = slice(row, row + rows_at_once)
            values = self.values[rows]
            step = max(1, _CHUNK // values.numel())
            for i in range(0, shape[0], step):
                j = slice(i, i + step)
                units = values / scale[j, rows]
                code = torch.minimum(torch.maximum(units.round(), bottom[j, rows]), top[j, rows])
                power = units.sub_(code).abs_().pow_(p).sum(dim=2)
                error[j, rows] = power.double() * scale[j, rows, 0].double().pow(p)
        return (error / columns).reshape(low.shape)

    @override
    def histogram(self, num_bins: int, bound: Tensor) -> Tensor:
        width = bound.reshape(-1, 1).double() * (2.0 / num_bins)
        index = (self.values / width).add_(num_bins / 2).floor_().long().clamp_(0, num_bins - 1)
        weights = (self.values != 0).double()
        counts = weights.new_zeros(self.values.shape[0], num_bins)
        counts.scatter_add_(1, index, weights)
        return counts if self._per_channel else counts[0]
