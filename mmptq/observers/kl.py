r"""Entropy calibration on a histogram, in the manner of TensorRT (Migacz 2017)."""

import torch
from torch import Tensor
from typing_extensions import override

from mmptq.observers.base import Observer, require
from mmptq.observers.statistics import Statistics
from mmptq.ops import QuantScheme, range_to_params
from mmptq.registry import OBSERVERS

_MIN_BINS = 64
_VALUES_PER_BIN = 8
_MIN_PROBABILITY = 1e-10  # stands in for 0 where Q misses mass that P has


@OBSERVERS.register_module()
class KLObserver(Observer):
    r"""Minimises the Kullback-Leibler divergence between the values before and after quantization.

    The non-zero values are counted in equal bins. A candidate range cuts the histogram. P is the
    cut histogram with the counts outside added to its first and last bin; Q spreads the counts of
    the bins inside that share one code evenly over those of them where P is not empty. The
    candidate with the least :math:`\sum P \log(P / Q)` wins. Codes are the quantizer's own, so
    symmetric, affine and real bit-widths are one case. Candidates shrink both ends of the whole
    range together, down to one bin per code; where there are more codes than bins, the whole range
    is taken.

    Args:
        num_bins: Most bins from zero to the largest magnitude, at least 64. A channel of few values
            gets fewer, about one for eight values, since a bin to each value has nothing to say.
        num_candidates: Ranges to try, at least 2.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(self, num_bins: int = 2048, num_candidates: int = 128) -> None:
        ok = isinstance(num_bins, int) and num_bins >= _MIN_BINS
        require(ok, self, "num_bins", num_bins, "a whole number from 64, e.g. 2048")
        ok = isinstance(num_candidates, int) and num_candidates >= 2
        require(ok, self, "num_candidates", num_candidates, "a whole number from 2, e.g. 128")
        self.num_bins = num_bins
        self.num_candidates = num_candidates

    @override
    def compute_range(self, stats: Statistics, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        low, high = stats.low, stats.high
        bound = torch.maximum(low.abs(), high.abs()).double()
        bound = torch.where(bound > 0, bound, torch.ones_like(bound))
        num_bins = min(self.num_bins, max(_MIN_BINS, stats.num_values // _VALUES_PER_BIN))
        counts = stats.histogram(2 * num_bins, bound)
        middles = torch.arange(2 * num_bins, dtype=torch.float64, device=counts.device)
        middles = (middles + 0.5 - num_bins) / num_bins * bound[..., None]
        best, least = torch.ones_like(low), torch.full_like(bound, float("inf"))
        for share in self._shares(scheme, num_bins).tolist():
            divergence = kl_divergence(counts, middles, low * share, high * share, scheme)
            better = divergence < least
            best = torch.where(better, torch.full_like(best, share), best)
            least = torch.where(better, divergence, least)
        return low * best, high * best

    def _shares(self, scheme: QuantScheme, num_bins: int) -> Tensor:
        """Shares of the whole range, from 1 down to as many bins as there are codes."""
        bins = num_bins * (2 if scheme.symmetric and scheme.signed else 1)
        smallest = min(1.0, (scheme.levels + 1.0) / bins)
        return torch.linspace(1.0, smallest, self.num_candidates).unique().flip(0)


def kl_divergence(
    counts: Tensor, middles: Tensor, low: Tensor, high: Tensor, scheme: QuantScheme
) -> Tensor:
    """Divergence of the quantized from the original histogram for one candidate range.

    Args:
        counts: ``(B,)`` or ``(C, B)`` float64.
        middles: Middles of the bins, same shape.
        low: Lower end of the candidate range, 0-dim or ``(C,)``.
        high: Upper end.
        scheme: The quantizer.

    Returns:
        0-dim or ``(C,)``; infinite where all counts lie outside, 0 where there is none.
    """
    scale, zero_point = (t.double()[..., None] for t in range_to_params(low, high, scheme))
    quant_min, quant_max = scheme.bounds
    inside = (middles >= low[..., None]) & (middles <= high[..., None])
    kept = counts * inside
    clipped = _add_outliers(kept, counts, inside, middles)

    steps = (middles / scale).round()
    # A whole number beyond a bound that is not whole stands for the level at the bound.
    bottom, top = (quant_min - zero_point).floor(), (quant_max - zero_point).ceil()
    code = (torch.minimum(torch.maximum(steps, bottom), top) - bottom).long()
    num_codes = int(code.max()) + 1
    occupied = (clipped > 0).double()
    sums = counts.new_zeros(*counts.shape[:-1], num_codes)
    mass = sums.scatter_add(-1, code, kept)
    members = sums.scatter_add(-1, code, occupied).clamp(min=1.0)
    spread = (mass / members).gather(-1, code) * occupied

    p = clipped / clipped.sum(-1, keepdim=True)
    q = spread / spread.sum(-1, keepdim=True)
    terms = torch.where(p > 0, p * (p / q.clamp(min=_MIN_PROBABILITY)).log(), 0.0)
    return terms.sum(-1).nan_to_num(nan=float("inf"))


def _add_outliers(kept: Tensor, counts: Tensor, inside: Tensor, middles: Tensor) -> Tensor:
    """Move the counts outside into the first and the last bin inside."""
    first = inside.long().argmax(-1, keepdim=True)
    last = inside.shape[-1] - 1 - inside.flip(-1).long().argmax(-1, keepdim=True)
    position = torch.arange(inside.shape[-1], device=inside.device)
    below = (counts * (position < first)).sum(-1, keepdim=True)
    above = (counts * (position > last)).sum(-1, keepdim=True)
    return kept.scatter_add(-1, first, below).scatter_add(-1, last, above)
