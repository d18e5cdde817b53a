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
# Maximum log-likelihoods per value: -log(sigma sqrt(2 pi e)) for Gauss, -log(2 e beta) for Laplace.
# The halves of both densities are twice as high, which changes nothing. Gauss fits better below
# this.
_LARGEST_GAUSS_RATIO = math.sqrt(2.0 * math.e / math.pi)


@OBSERVERS.register_module()
class ACIQObserver(Observer):
    """Clips where the expected squared error of a Gauss or Laplace density is least.

    The scale is the fitted one of maximum likelihood: the standard deviation or the mean absolute
    deviation. A symmetric quantizer, and values of one sign, are fitted around 0, else around the
    mean; for values of one sign the exact zeros that ReLU leaves are set aside first. The range
    never exceeds the values seen.

    Args:
        distribution: ``'gauss'``, ``'laplace'``, or ``'auto'``: the likelier one, per channel.

    Raises:
        ConfigError: ``distribution`` is something else.
    """

    def __init__(self, distribution: str = "auto") -> None:
        ok = distribution in _DISTRIBUTIONS
        require(ok, self, "distribution", distribution, f"one of {', '.join(_DISTRIBUTIONS)}")
        self.distribution = distribution

    @override
    def compute_range(self, stats: Statistics, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        low, high = stats.low, stats.high
        one_sided = (low >= 0) | (high <= 0)
        around_zero = torch.zeros_like(stats.mean())
        center = around_zero if scheme.symmetric else stats.mean()
        both = self._clip(stats, center, scheme.num_bits, skip_zeros=False)
        half_bits = scheme.num_bits + (0.0 if scheme.signed else 1.0)
        half = self._clip(stats, around_zero, half_bits, skip_zeros=True)
        center = torch.where(one_sided, around_zero, center)
        clip = torch.where(one_sided, half, both)
        lower, upper = (center - clip).float(), (center + clip).float()
        # max and min: all values may lie on one side of 0, and even of the centre's clips.
        lower = torch.maximum(lower, low.clamp(max=0.0))
        return lower, torch.minimum(upper, high.clamp(min=0.0))

    def _clip(self, stats: Statistics, center: Tensor, bits: float, skip_zeros: bool) -> Tensor:
        sigma = stats.abs_moment(2.0, center, skip_zeros).sqrt()
        beta = stats.abs_moment(1.0, center, skip_zeros)
        gauss, laplace = gauss_clip(bits) * sigma, laplace_clip(bits) * beta
        if self.distribution == "auto":
            return torch.where(sigma < _LARGEST_GAUSS_RATIO * beta, gauss, laplace)
        return gauss if self.distribution == "gauss" else laplace


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
