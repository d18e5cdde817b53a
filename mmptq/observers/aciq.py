r"""Analytical clipping from a fitted density (Banner, Nahshan, Soudry 2019, "ACIQ").

With clip :math:`\alpha` and :math:`2^b` levels the noise inside the clips is nearly uniform, and
the expected squared error of a centred density :math:`f` is

.. math:: E(\alpha) = 2 \int_\alpha^\infty f(x) (x - \alpha)^2 dx + \frac{\alpha^2}{3 \cdot 4^b}.

Setting the derivative to zero gives, for Laplace with scale :math:`\beta`, :math:`(\alpha/\beta)
e^{\alpha/\beta} = 3 \cdot 4^b`, whose solution is Lambert's W function, and for Gauss with :math:`a
= \alpha / \sigma` the root of :math:`2 (\varphi(a) - a (1 - \Phi(a))) = a / (3 \cdot 4^b)`. Neither
needs a table, nor a whole :math:`b`.

A tensor of one sign (after ReLU) has half of that density, and unsigned codes put all levels into
that half: the noise term is :math:`\alpha^2 / (3 \cdot 4^{b+1})`, the same problem at one bit more.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from scipy.optimize import brentq
from scipy.special import lambertw, ndtr
from torch import Tensor
from typing_extensions import override

from mmptq.observers.base import Observer, require
from mmptq.observers.statistics import Statistics
from mmptq.ops import QuantScheme
from mmptq.registry import OBSERVERS

_DISTRIBUTIONS = ("auto", "gauss", "laplace")


@OBSERVERS.register_module()
class ACIQObserver(Observer):
    """Clips where the expected squared error of a Gauss or Laplace density is least.

    The scale is the fitted one of maximum likelihood: the standard deviation or the mean absolute
    deviation. A symmetric quantizer, and values of one sign, are fitted around 0, else around the
    mean; for values of one sign the exact zeros that ReLU leaves are set aside first. The range
    never exceeds the values seen.

    Args:
        distribution: ``'gauss'``, ``'laplace'``, or ``'auto'``: per channel, whichever of both and
            of no clipping at all leaves the least squared error on the values seen. (The likelier
            density is no safe guide: a short tail far out, which a fit hardly notices, costs more
            at 8 bits than all the rest.)

    Raises:
        ConfigError: ``distribution`` is something else.
    """

    def __init__(self, distribution: str = "auto") -> None:
        ok = distribution in _DISTRIBUTIONS
        require(ok, self, "distribution", distribution, f"one of {', '.join(_DISTRIBUTIONS)}")
        self.distribution = distribution

    @override
    def compute_range(self, stats: Statistics, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        if self.distribution == "gauss":
            return _clipped(stats, scheme, gauss_clip, 2.0)
        if self.distribution == "laplace":
            return _clipped(stats, scheme, laplace_clip, 1.0)
        candidates = (
            _clipped(stats, scheme, gauss_clip, 2.0),
            _clipped(stats, scheme, laplace_clip, 1.0),
            (stats.low, stats.high),
        )
        low, high = (torch.stack(ends) for ends in zip(*candidates, strict=True))
        best = stats.lp_error(low, high, scheme, 2.0).argmin(dim=0, keepdim=True)
        return low.gather(0, best)[0], high.gather(0, best)[0]


def _clipped(
    stats: Statistics, scheme: QuantScheme, unit_clip: Callable[[float], float], order: float
) -> tuple[Tensor, Tensor]:
    """Range of the best clips of one density.

    ``unit_clip`` gives the clip of the density at scale 1 from the number of bits; its scale is the
    root of the moment of this ``order``.
    """
    low, high = stats.low, stats.high
    one_sided = (low >= 0) | (high <= 0)
    zero = torch.zeros_like(stats.mean())
    half_bits = scheme.num_bits + (0.0 if scheme.signed else 1.0)
    half = stats.abs_moment(order, zero, skip_zeros=True) ** (1.0 / order)
    center = torch.where(one_sided | scheme.symmetric, zero, stats.mean())
    both = stats.abs_moment(order, center) ** (1.0 / order)
    clip = torch.where(one_sided, unit_clip(half_bits) * half, unit_clip(scheme.num_bits) * both)
    lower, upper = (center - clip).float(), (center + clip).float()
    # max and min: all values may lie on one side of 0, and even of the centre's clips.
    lower = torch.maximum(lower, low.clamp(max=0.0))
    return lower, torch.minimum(upper, high.clamp(min=0.0))


def laplace_clip(num_bits: float) -> float:
    """Best clip of a Laplace density of scale 1 (2.83, 3.89, 5.03 at 2, 3, 4 bits)."""
    return float(lambertw(3.0 * 4.0**num_bits).real)


@lru_cache(maxsize=256)
def gauss_clip(num_bits: float) -> float:
    """Best clip of a Gauss density of standard deviation 1 (1.71, 2.15, 2.55 at 2, 3, 4 bits)."""

    def slope(a: float) -> float:
        density = math.exp(-a * a / 2.0) / math.sqrt(2.0 * math.pi)
        return a / (3.0 * 4.0**num_bits) - 2.0 * (density - a * float(ndtr(-a)))

    return float(brentq(slope, 0.0, 40.0, xtol=1e-12))
