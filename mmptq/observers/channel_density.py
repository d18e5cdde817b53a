"""The distributions of many channels, each constant between edges, and what quantizing them costs.

As :mod:`mmptq.observers.density`, for all channels at once.
"""

import numpy as np
import torch
from torch import Tensor

from mmptq.observers.density import QuantGrid, error_antiderivative

_CHUNK = 1 << 17  # (candidate, channel, edge) triples at a time
# A bin that the channel's extreme would cut to a point keeps this relative width.
_LEAST_WIDTH = 2.0**-20


class ChannelDensity:
    """Counts on adjacent pieces of the real line and at zero.

    Args:
        edges: ``(C, E + 1)`` float64 ascending, the middle piece around zero.
        counts: ``(C, E)`` float64, none in the middle.
        zeros: Values at zero, ``(C,)``.
        low: Least value of each channel, ``(C,)``: the lowest bin is cut off there.
        high: Largest value.
    """

    def __init__(
        self, edges: Tensor, counts: Tensor, zeros: Tensor, low: Tensor, high: Tensor
    ) -> None:
        low, high = (t.double()[:, None] * (1.0 + _LEAST_WIDTH) for t in (low, high))
        # What is beyond has no counts, and no width from now on. The least of values above zero
        # cuts nothing off, nor does the largest of those below.
        self.edges = edges.clamp(min=low.clamp(max=0.0), max=high.clamp(min=0.0))
        self.counts, self.zeros = counts, zeros.double()
        self.total = counts.sum(1) + self.zeros
        self._gap = counts.shape[1] // 2
        width = self.edges.diff(dim=1)
        density = counts / torch.where(width > 0, width, torch.ones_like(width))
        # Outer columns without values, a whole side behind a ReLU, cost as much as all others.
        used = counts.sum(0).nonzero().flatten().tolist() or [self._gap]
        first, last = used[0], used[-1] + 1
        self._used_edges, self._density = self.edges[:, first : last + 1], density[:, first:last]

    def mean(self) -> Tensor:
        """Mean of all values, ``(C,)``."""
        return (self._middles() * self.counts).sum(1) / self.total.clamp(min=1.0)

    def abs_moment(self, order: float, center: Tensor, skip_zeros: bool) -> Tensor:
        """Mean of ``|x - center| ** order``, each piece taken at its middle, ``(C,)``."""
        center = center.double().expand(len(self.counts))
        terms = (self._middles() - center[:, None]).abs_().pow_(order)
        total = (terms * self.counts).sum(1)
        if skip_zeros:
            return total / self.counts.sum(1).clamp(min=1.0)
        return (total + center.abs() ** order * self.zeros) / self.total.clamp(min=1.0)

    def quantile(self, q: float) -> Tensor:
        """The value below which a share ``q`` of the values lies, ``(C,)``; see ``density``."""
        counts = self.counts.clone()
        counts[:, self._gap] = self.zeros
        cumulative = counts.cumsum(1)
        rank = (q * (self.total - 1.0) + 0.5)[:, None]
        i = torch.searchsorted(cumulative, rank).clamp(max=counts.shape[1] - 1)
        count = counts.gather(1, i)
        share = (rank - cumulative.gather(1, i) + count) / count.clamp(min=1.0)
        left, right = self.edges.gather(1, i), self.edges.gather(1, i + 1)
        value = left + (right - left) * share.clamp(0.0, 1.0)
        return value.masked_fill(i == self._gap, 0.0)[:, 0]

    def lp_error(self, grid: QuantGrid, p: float) -> Tensor:
        """Mean of ``|Q(x) - x| ** p`` for ``K`` grids of each channel, ``(K, C)`` float64.

        Args:
            grid: Of tensors ``(K, C)``.
            p: Any positive power.
        """
        errors = torch.empty_like(grid.scale)
        columns = self._used_edges.shape[1]
        channels = max(1, _CHUNK // columns)
        for c in range(0, len(self.edges), channels):
            some = slice(c, c + channels)
            edges, density = self._used_edges[some], self._density[some]
            candidates = max(1, _CHUNK // edges.numel())
            for k in range(0, len(errors), candidates):
                part = (slice(k, k + candidates), some)
                scale, bottom, top = (
                    t[part][..., None] for t in (grid.scale, grid.bottom, grid.top)
                )
                integral = error_antiderivative(edges, scale, bottom, top, p).diff(dim=-1)
                error = torch.einsum("kce,ce->kc", integral, density)
                errors[part] = error * scale[..., 0].pow(p + 1.0)
        return errors / self.total.clamp(min=1.0)

    def histogram(self, num_bins: int, bound: Tensor) -> Tensor:
        """Counts of the non-zero values in equal bins of ``[-bound, bound]``, ``(C, num_bins)``.

        A piece that spans several bins is shared out by length.
        """
        line = np.linspace(-1.0, 1.0, num_bins + 1) * (1.0 + _LEAST_WIDTH)
        edges = self.edges.numpy()
        cumulative = np.pad(self.counts.numpy().cumsum(axis=1), ((0, 0), (1, 0)))
        bounds = bound.double().expand(len(edges)).tolist()
        rows = zip(bounds, edges, cumulative, strict=True)
        found = [np.diff(np.interp(line * end, x, y)) for end, x, y in rows]
        return torch.from_numpy(np.stack(found))

    def _middles(self) -> Tensor:
        return (self.edges[:, :-1] + self.edges[:, 1:]) / 2.0
