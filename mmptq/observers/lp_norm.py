"""The range whose quantizer loses least, measured by an L_p norm."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from typing_extensions import override

from mmptq.observers.base import Observer, is_number, require
from mmptq.observers.statistics import Statistics
from mmptq.ops import QuantScheme
from mmptq.registry import OBSERVERS

_REFINEMENTS = 2
_REFINE_POINTS = 9
_SWEEPS = 2


@OBSERVERS.register_module()
class LpNormObserver(Observer):
    r"""Minimises the mean of :math:`|Q(x) - x|^p` (LAPQ eq. 12, Nahshan et al. 2021); 2 is MMSE.

    A coarse logarithmic grid over the clip, then finer ones around its best point, each evaluated
    at once for all candidates and channels. A symmetric quantizer, or values of one sign, have one
    clip to search. An affine quantizer of values of both signs has two: both are shrunk together
    first, then each by itself with the other held. A signed symmetric quantizer's top code lies
    half a step inside its clip, so its search goes a little beyond the largest magnitude, to where
    the top code meets it.

    The result is never worse than the whole range, by this very measure.

    Args:
        p: Any positive power. Higher powers clip less.

    Raises:
        ConfigError: ``p`` is not a positive finite number.
    """

    def __init__(self, p: float = 2.0) -> None:
        ok = is_number(p) and 0.0 < p < math.inf
        require(ok, self, "p", p, "a positive number, e.g. 2.0 for the mean squared error")
        self.p = self.level_power = float(p)

    @override
    def compute_range(self, stats: Statistics, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        low, high = stats.low, stats.high

        def error(low_share: Tensor, high_share: Tensor) -> Tensor:
            low_share, high_share = torch.broadcast_tensors(low_share, high_share)
            return stats.lp_error(low * low_share, high * high_share, scheme, self.p)

        whole = torch.ones_like(low)
        shares = _expand(_coarse_shares(scheme), low)
        joint = _line_search(lambda share: error(share, share), shares, whole)
        low_share, high_share = joint, joint
        if not scheme.symmetric and bool(((low < 0) & (high > 0)).any()):
            low_share, high_share = self._search_each_end(error, joint)
        return low * low_share, high * high_share

    @staticmethod
    def _search_each_end(
        error: Callable[[Tensor, Tensor], Tensor], joint: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Search either end with the other held, in turn, from a joint share."""
        low_share = high_share = joint
        shares = _expand(torch.linspace(1.0, 0.0, 17), joint)
        for _ in range(_SWEEPS):
            low_share = _line_search(partial(_swapped, error, high_share), shares, low_share)
            high_share = _line_search(partial(error, low_share), shares, high_share)
        return low_share, high_share


def _swapped(error: Callable[[Tensor, Tensor], Tensor], high: Tensor, low: Tensor) -> Tensor:
    return error(low, high)


def _coarse_shares(scheme: QuantScheme) -> Tensor:
    """Shares of the whole range to try first, descending; dense where the optimum usually lies."""
    above: list[float] = []
    if scheme.symmetric and scheme.signed:
        top_code = max(scheme.bounds[1], 0.25)  # none at 1 bit
        limit = scheme.levels / 2.0 / top_code
        above = [1.0 + (limit - 1.0) * i / 4.0 for i in (4, 3, 2, 1)]
    octaves = [i / 10.0 for i in range(20)] + [2.0 + i / 4.0 for i in range(8)]
    octaves += [float(i) for i in range(4, 21)]
    return torch.tensor(above + [2.0**-octave for octave in octaves])


def _expand(shares: Tensor, like: Tensor) -> Tensor:
    """``(K,)`` to ``(K, *like.shape)``."""
    return shares.to(like).reshape(-1, *[1] * like.dim()).expand(-1, *like.shape)


def _line_search(error: Callable[[Tensor], Tensor], shares: Tensor, start: Tensor) -> Tensor:
    """Best share of each channel: the grid, then finer grids between the best point's neighbours.

    Args:
        error: ``(K, *S)`` shares to ``(K, *S)`` errors.
        shares: Grid ``(K, *S)``, in order.
        start: Kept where nothing is strictly better, ``S``.
    """
    best, least = start, error(start[None])[0]
    steps = torch.linspace(0.0, 1.0, _REFINE_POINTS + 2)[1:-1]
    for _ in range(1 + _REFINEMENTS):
        errors = error(shares).nan_to_num(nan=math.inf)
        i = errors.argmin(dim=0, keepdim=True)
        found, found_error = shares.gather(0, i)[0], errors.gather(0, i)[0]
        left = shares.gather(0, (i - 1).clamp(min=0))
        right = shares.gather(0, (i + 1).clamp(max=shares.shape[0] - 1))
        better = found_error < least
        best, least = torch.where(better, found, best), torch.where(better, found_error, least)
        shares = left + (right - left) * _expand(steps, start)
    return best
