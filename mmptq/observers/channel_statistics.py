"""Statistics of an activation channel by channel."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self, override

from mmptq.observers.channel_density import ChannelDensity
from mmptq.observers.channel_histogram import ChannelHistogram
from mmptq.observers.statistics import quant_grid
from mmptq.observers.streaming import StreamingStatistics
from mmptq.ops import QuantScheme

BINS_PER_OCTAVE = 64
_COARSE_PER_OCTAVE = 4  # resolution of the range search far below a channel's maximum


class ChannelStatistics(StreamingStatistics):
    """Streaming statistics of each channel of one activation, 16 kB a channel.

    Args:
        channels: How many there are.
        ch_axis: Where, counted from the end: -3 of ``(N, C, H, W)``.
    """

    def __init__(self, channels: int, ch_axis: int) -> None:
        super().__init__()
        self.channels, self.ch_axis = channels, ch_axis
        self._bins = ChannelHistogram(BINS_PER_OCTAVE, channels)
        self._densities: dict[int | None, ChannelDensity] = {}

    @property
    def zeros(self) -> Tensor:
        """Values of each channel that are zero, or as good as that beside its largest."""
        return self._bins.zeros

    @override
    def _extremes(self, values: Tensor) -> Tensor:
        return torch.stack(torch.aminmax(self._rows(values), dim=1))

    @override
    def _take(self, values: Tensor, extremes: Tensor) -> None:
        self._bins.update(self._rows(values).contiguous())
        self.count += values.numel() // self.channels
        self._densities.clear()

    def _rows(self, values: Tensor) -> Tensor:
        return values.movedim(self.ch_axis, 0).reshape(self.channels, -1)

    @override
    def _merge_bins(self, other: Self) -> None:
        self._bins.merge(other._bins)
        self._densities.clear()

    @override
    def state_dict(self) -> dict[str, Any]:
        bins = {"bins": self._bins.counts.clone(), "top": self._bins.top, "zeros": self.zeros}
        return {**super().state_dict(), **bins, "ch_axis": self.ch_axis}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`state_dict`."""
        stats = cls(len(state["zeros"]), int(state["ch_axis"]))
        stats._load_images(state)
        stats._bins.counts = state["bins"].clone()
        stats._bins.top, stats._bins.zeros = state["top"].clone(), state["zeros"].clone()
        return stats

    @property
    @override
    def num_values(self) -> int:
        return self.count

    @override
    def mean(self) -> Tensor:
        return self._density().mean()

    @override
    def abs_moment(
        self, order: float, center: Tensor | float = 0.0, skip_zeros: bool = False
    ) -> Tensor:
        return self._density().abs_moment(order, torch.as_tensor(center), skip_zeros)

    @override
    def quantile(self, q: float) -> Tensor:
        if q in (0.0, 1.0):
            return self.low if q == 0.0 else self.high
        return self._density().quantile(q).float().clamp(self.low, self.high)

    @override
    def lp_error(self, low: Tensor, high: Tensor, scheme: QuantScheme, p: float) -> Tensor:
        return self._density(_COARSE_PER_OCTAVE).lp_error(quant_grid(low, high, scheme), p)

    @override
    def histogram(self, num_bins: int, bound: Tensor) -> Tensor:
        return self._density().histogram(num_bins, bound)

    def _density(self, coarse_per_octave: int | None = None) -> ChannelDensity:
        if coarse_per_octave not in self._densities:
            edges, counts = self._bins.bins(coarse_per_octave)
            density = ChannelDensity(edges, counts, self.zeros, self.low, self.high)
            self._densities[coarse_per_octave] = density
        return self._densities[coarse_per_octave]
