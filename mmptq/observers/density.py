r"""A distribution on the real line that is constant between edges, and what quantizing it costs.

With step :math:`s` and the bounds :math:`a \le 0 \le b` of the codes (in steps from zero), the
error of a value :math:`x = s u` is :math:`s e(u)`, :math:`e(u) = u - k(u)`, :math:`k(u) =
\mathrm{clamp}(\mathrm{round}(u), a, b)`. Its p-th power has the antiderivative

.. math:: F(u) = \int_0^u |e(t)|^p dt = m C + \mathrm{sign}(u - k) \frac{|u - k|^{p+1}}{p+1},
          \qquad C = \frac{2 \cdot 0.5^{p+1}}{p+1},

(:math:`C` is one whole rounding cell) with :math:`m = k` for a whole :math:`k`, inside the clips
and beyond them. So the mean error over a bin of constant density is exact however many cells the
bin spans, or a cell spans bins.

A real bit-width has real bounds. Where :math:`k = b` is not whole, that is from :math:`h = \lfloor
b \rfloor + 0.5` upwards, :math:`F` goes on from :math:`F(h) = h C` with the error :math:`u - b`,
hence :math:`m = h - \frac12 \mathrm{sign}(h - b) |2 (h - b)|^{p+1}`, between :math:`\lfloor b
\rfloor` and the whole number above it. So :math:`m` is a clamp of ``round(u)`` as well, to other
bounds, and likewise below.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_CHUNK = 1 << 17  # (candidate, edge) pairs at a time


@dataclass(frozen=True)
class QuantGrid:
    """Levels ``scale * k`` for whole ``k`` between ``bottom`` and ``top`` and for these two.

    Each ``(K,)`` float64, ``bottom <= 0 <= top``; the two are whole at whole bits.
    """

    scale: Tensor
    bottom: Tensor
    top: Tensor


class PiecewiseDensity:
    """Counts on adjacent pieces of the real line, uniform on each; one of width 0 is a point mass.

    Args:
        edges: ``(E + 1,)`` float64, not descending.
        counts: ``(E,)`` float64.
    """

    def __init__(self, edges: Tensor, counts: Tensor) -> None:
        self.edges = edges
        self.counts = counts
        width = edges.diff()
        self._is_point = (width == 0) & (counts > 0)
        self._points = edges[:-1][self._is_point]
        self._point_counts = counts[self._is_point]
        spread = torch.where(width > 0, counts, torch.zeros_like(counts))
        self._density = spread / torch.where(width > 0, width, torch.ones_like(width))
        self._spread = spread

    @classmethod
    def from_bins(
        cls, edges: Tensor, counts: Tensor, low: float, high: float, zeros: int
    ) -> "PiecewiseDensity":
        """Density of binned non-zero values whose exact extremes are known.

        Args:
            edges: ``(E + 1,)`` ascending, with the empty bin around zero among them.
            counts: ``(E,)``.
            low: Smallest value (zeros counted): the lowest bin is cut off there.
            high: Largest value.
            zeros: Count of exact zeros, made a point mass at 0.
        """
        used = counts.nonzero().flatten()
        if not used.numel():
            return cls(torch.zeros(2, dtype=torch.float64), torch.tensor([float(zeros)]).double())
        first, last = int(used[0]), int(used[-1])
        edges, counts = edges[first : last + 2].clone(), counts[first : last + 1]
        # An extreme of 0 says nothing about the non-zero values, whose bins end short of it anyway.
        edges = edges.clamp(min=low if low != 0.0 else None, max=high if high != 0.0 else None)
        if zeros:
            edges, counts = _insert_zeros(edges, counts, zeros)
        return cls(edges, counts)

    @property
    def total(self) -> float:
        """Number of values."""
        return float(self.counts.sum())

    def abs_moment(self, order: float, center: float, skip_zeros: bool) -> float:
        """Mean of ``|x - center| ** order``, each piece taken at its middle."""
        middle = (self.edges[:-1] + self.edges[1:]) / 2.0
        counts = self._without_zeros() if skip_zeros else self.counts
        return float(((middle - center).abs() ** order) @ counts / counts.sum().clamp(min=1.0))

    def mean(self) -> float:
        """Mean of all values."""
        return float(((self.edges[:-1] + self.edges[1:]) / 2.0) @ self.counts / self.total)

    def quantile(self, q: float) -> float:
        """The value below which a share ``q`` of the values lies, linear within a piece."""
        # numpy's rank q * (n - 1) counts from the first value, whose mass is centred at 0.5 here.
        rank = q * (self.total - 1.0) + 0.5
        cumulative = self.counts.cumsum(0)
        i = min(int(torch.searchsorted(cumulative, rank)), len(self.counts) - 1)
        share = (rank - float(cumulative[i] - self.counts[i])) / float(self.counts[i])
        left, right = float(self.edges[i]), float(self.edges[i + 1])
        return left + (right - left) * min(max(share, 0.0), 1.0)

    def lp_error(self, grid: QuantGrid, p: float) -> Tensor:
        """Mean of ``|Q(x) - x| ** p`` for each of ``K`` grids, ``(K,)`` float64."""
        per_chunk = max(1, _CHUNK // self.edges.numel())
        errors = [
            self._lp_error(grid.scale[i:j, None], grid.bottom[i:j, None], grid.top[i:j, None], p)
            for i, j in _chunks(grid.scale.numel(), per_chunk)
        ]
        return torch.cat(errors) / self.total

    def _lp_error(self, scale: Tensor, bottom: Tensor, top: Tensor, p: float) -> Tensor:
        integral = error_antiderivative(self.edges, scale, bottom, top, p).diff(dim=1)
        error = integral @ self._density * scale[:, 0].pow(p + 1.0)
        if self._points.numel():
            steps = self._points / scale
            rest = steps - torch.minimum(torch.maximum(steps.round(), bottom), top)
            error += (rest * scale).abs().pow_(p) @ self._point_counts
        return error

    def level_error(self, levels: Tensor, p: float) -> Tensor:
        """Mean of ``|x - nearest level| ** p`` for each row of ``levels`` ``(K, L)``, ascending."""
        return torch.stack([self._level_error(row, p) for row in levels.double()]) / self.total

    def _level_error(self, levels: Tensor, p: float) -> Tensor:
        middles = (levels[1:] + levels[:-1]) / 2.0
        # From one level to the next the integral grows by that of a whole cell.
        cells = 2.0 * (levels.diff() / 2.0) ** (p + 1.0) / (p + 1.0)
        before = torch.cat([cells.new_zeros(1), cells.cumsum(0)])
        index = torch.bucketize(self.edges, middles)
        rest = self.edges - levels[index]
        integral = before[index] + rest.abs().pow(p + 1.0).copysign(rest) / (p + 1.0)
        error = integral.diff() @ self._density
        if self._points.numel():
            rest = self._points - levels[torch.bucketize(self._points, middles)]
            error = error + rest.abs().pow(p) @ self._point_counts
        return error

    def histogram(self, num_bins: int, low: float, high: float) -> Tensor:
        """Counts of the non-zero values in equal bins of ``[low, high]``, ``(num_bins,)`` float64.

        A piece that spans several bins is shared out by length.
        """
        linear = np.linspace(low, high, num_bins + 1)
        cumulative = np.concatenate([[0.0], self._spread.cumsum(0).numpy()])
        counts = torch.from_numpy(np.diff(np.interp(linear, self.edges.numpy(), cumulative)))
        points = self._points[self._points != 0]
        index = ((points - low) * (num_bins / (high - low))).floor().long().clamp(0, num_bins - 1)
        return counts.index_add_(0, index, self._point_counts[self._points != 0])

    def _without_zeros(self) -> Tensor:
        return torch.where(self._is_point & (self.edges[:-1] == 0), 0.0, self.counts)


def error_antiderivative(
    edges: Tensor, scale: Tensor, bottom: Tensor, top: Tensor, p: float
) -> Tensor:
    """``F`` of the module's formula at each edge; the arguments broadcast against each other."""
    steps = edges / scale
    code = cells = torch.minimum(torch.maximum(steps.round(), bottom), top)
    if bool((bottom.frac() != 0).any() | (top.frac() != 0).any()):
        cells = steps.round().clamp_(-_cells(-bottom, p), _cells(top, p))
    rest = steps.sub_(code)
    antiderivative = rest.abs().pow_(p + 1.0).copysign_(rest).div_(p + 1.0)
    return antiderivative.add_(cells, alpha=2.0 * 0.5 ** (p + 1.0) / (p + 1.0))


def _cells(top: Tensor, p: float) -> Tensor:
    """``m`` of the module's formula for values whose code is ``top``; just that if it is whole."""
    half = top.floor() + 0.5
    rest = 2.0 * (half - top)
    return half - 0.5 * rest.abs().pow(p + 1.0).copysign(rest)


def _insert_zeros(edges: Tensor, counts: Tensor, zeros: int) -> tuple[Tensor, Tensor]:
    """Put a piece ``[0, 0]`` with ``zeros`` values where it belongs among the others."""
    at = int(torch.searchsorted(edges, torch.zeros((), dtype=edges.dtype)))
    point, empty = torch.tensor([float(zeros)]).double(), torch.zeros(1, dtype=torch.float64)
    zero_edges = torch.zeros(2, dtype=torch.float64)
    if at == 0:
        return torch.cat([zero_edges, edges]), torch.cat([point, empty, counts])
    if at == edges.numel():
        return torch.cat([edges, zero_edges]), torch.cat([counts, empty, point])
    # Zero lies in the empty bin between the two sides, which the point splits in two.
    return (
        torch.cat([edges[:at], zero_edges, edges[at:]]),
        torch.cat([counts[:at], point, empty, counts[at:]]),
    )


def _chunks(total: int, size: int) -> list[tuple[int, int]]:
    return [(i, min(i + size, total)) for i in range(0, total, size)]
