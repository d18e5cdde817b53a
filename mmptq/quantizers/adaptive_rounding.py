"""A weight quantizer that learns for every weight whether it is rounded up or down."""

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mmptq import ops
from mmptq.ops import QuantScheme

# Stretch of the sigmoid, so that 0 and 1 are reached (Nagel et al. 2020, eq. 23).
ZETA, GAMMA = 1.1, -0.1


def rectified_sigmoid(v: Tensor) -> Tensor:
    r""":math:`h(V) = \mathrm{clip}(\sigma(V) (\zeta - \gamma) + \gamma, 0, 1)`; differentiable."""
    return _RectifiedSigmoid.apply(v) if v.requires_grad else _rectified(torch.sigmoid(v))


def rounding_regularizer(h: Tensor, beta: float) -> Tensor:
    r""":math:`\sum 1 - |2h - 1|^\beta` (Nagel et al. 2020, eq. 24): 0 where every h is 0 or 1.

    Differentiable, in h alone.
    """
    return _Regularizer.apply(h, beta)


class _RectifiedSigmoid(torch.autograd.Function):
    """In few passes over memory: of large weights they would take as long as the convolution."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        sigmoid = torch.sigmoid(v)
        h = _rectified(sigmoid)
        ctx.save_for_backward(sigmoid, h)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        sigmoid, h = ctx.saved_tensors
        # Nothing passes where h is clipped, to 0 or 1.
        inside = torch.ops.aten.hardtanh_backward(grads[0], h, 0.0, 1.0)
        return torch.ops.aten.sigmoid_backward(inside, sigmoid).mul_(ZETA - GAMMA)


class _Regularizer(torch.autograd.Function):
    """With one power for value and gradient."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, beta: float) -> Tensor:
        way = h.mul(2.0).sub_(1.0)
        size = way.abs()
        power = size.pow(beta - 1.0)
        ctx.save_for_backward(way, power)
        ctx.beta = beta
        return h.numel() - (power * size).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        way, power = ctx.saved_tensors
        return torch.copysign(power, way).mul_(grads[0] * (-2.0 * ctx.beta)), None


def _rectified(sigmoid: Tensor) -> Tensor:
    return sigmoid.mul(ZETA - GAMMA).add_(GAMMA).clamp_(0.0, 1.0)


class Calibrated(Protocol):
    """What is read of a calibrated quantizer."""

    scheme: QuantScheme
    zero_point: Tensor
    ch_axis: int | None

    @property
    def scale(self) -> Tensor:
        """Its step."""
        ...


class AdaptiveRoundingQuantizer(nn.Module):
    r"""Takes the place of a weight's calibrated quantizer while its rounding is learned.

    .. math:: \hat w = s \cdot \mathrm{clip}(\lfloor w / s \rfloor + h(V), q_{min} - z, q_{max} - z)

    (AdaRound, Nagel et al. 2020, eq. 22). :math:`V` starts where :math:`h(V)` is the fraction that
    rounding down cuts off, so that the weight is at first the float one, within the clip range.

    Args:
        source: The weight's calibrated quantizer, at whole bits.
        weight: The float weight, any shape.

    Raises:
        ValueError: The bit-width is not whole.
    """

    floor: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, source: Calibrated, weight: Tensor) -> None:
        super().__init__()
        if source.scheme.num_bits % 1.0:
            raise ValueError(f"adaptive rounding at {source.scheme.num_bits} bits: must be whole")
        weight = weight.detach()
        quant_min, quant_max = source.scheme.bounds
        low, high = quant_min - source.zero_point, quant_max - source.zero_point
        for name, value in (("scale", source.scale.detach()), ("low", low), ("high", high)):
            self.register_buffer(name, ops.per_channel(value, weight.dim(), source.ch_axis).clone())
        steps = weight / self.scale
        self.register_buffer("floor", steps.floor())
        rest = steps - self.floor
        self.v = nn.Parameter(-torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1.0))
        self.enabled = True

    def forward(self, weight: Tensor) -> Tensor:
        """The softly rounded weight; ``weight`` itself counts only while this is switched off."""
        if not self.enabled:
            return weight
        return (self.floor + rectified_sigmoid(self.v)).clamp(self.low, self.high) * self.scale

    def regularizer(self, beta: float) -> Tensor:
        """:func:`rounding_regularizer` of all weights."""
        return rounding_regularizer(rectified_sigmoid(self.v), beta)

    @torch.no_grad()
    def rounded(self) -> Tensor:
        """The weight after hard rounding: up where ``h(V) >= 1/2``."""
        codes = (self.floor + (self.v >= 0).to(self.floor.dtype)).clamp(self.low, self.high)
        return codes * self.scale

    def fingerprint(self) -> tuple[object, ...]:
        """Never the same: nothing is cached while the rounding is being learned."""
        return (object(),)


def linear_beta(progress: float, start: float = 20.0, end: float = 2.0) -> float:
    """The regularizer's exponent, falling linearly; ``progress`` runs from 0 to 1 after warm-up."""
    return end + (start - end) * (1.0 - min(max(progress, 0.0), 1.0))


def settled_share(v: Tensor) -> float:
    """Share of weights whose rounding is decided, ``h(V)`` being 0 or 1."""
    h = rectified_sigmoid(v.detach())
    return float(((h == 0.0) | (h == 1.0)).double().mean()) if v.numel() else math.nan
