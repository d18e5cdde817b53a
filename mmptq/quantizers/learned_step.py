"""A uniform quantizer whose step is learned, with a real bit-width that can be moved."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmptq import ops
from mmptq.quantizers.adaptive_rounding import AdaptiveRoundingQuantizer
from mmptq.quantizers.levels import nearest
from mmptq.quantizers.uniform import UniformQuantizer


class LearnedStepQuantizer(nn.Module):
    r"""Takes the place of a calibrated quantizer while its step is learned (LSQ).

    The step is :math:`s(b) \, e^{t}`, where :math:`s(b)` spreads the calibrated quantizer's range
    over :math:`2^b - 1` steps and :math:`t` is learned: positive, on the scale of no tensor, and
    over the same range at every bit-width :math:`b`. Gradients are those of LSQ (Esser et al. 2020,
    eq. 3); with Adam its factor for the gradient's size would cancel.

    Args:
        source: The calibrated quantizer; :meth:`commit` writes the learned step back to it.
        learn: Whether the step is learned.
    """

    base_scale: Tensor
    zero_point: Tensor

    def __init__(self, source: UniformQuantizer, learn: bool = True) -> None:
        super().__init__()
        self._source = (source,)  # in a tuple: it is no submodule
        self.scheme = self.target = source.scheme
        self.ch_axis = source.ch_axis
        self.enabled = True
        # Probability with which an element is left in float (QDrop), and where it is drawn from.
        self.drop_prob = 0.0
        self.generator: torch.Generator | None = None
        self.register_buffer("base_scale", source.scale.detach().clone())
        self.register_buffer("zero_point", source.zero_point.detach().clone())
        # Of levels that are not evenly spaced: where they are, in steps.
        self.units = source.units_for(source.range_low, source.range_high, source.scheme)
        self.log_gain = nn.Parameter(torch.zeros_like(self.base_scale), requires_grad=learn)
        self.v: nn.Parameter | None = None
        # Takes over once the rounding is learned, see :meth:`start_rounding`.
        self.rounding: AdaptiveRoundingQuantizer | None = None

    @torch.no_grad()
    def set_num_bits(self, num_bits: float) -> None:
        """Change the bit-width, real or whole, and keep the range."""
        source = self._source[0]
        self.scheme = replace(self.target, num_bits=float(num_bits))
        self.units = source.units_for(source.range_low, source.range_high, self.scheme)
        if self.scheme == self.target:  # bit for bit what it was
            self.base_scale.copy_(source.scale)
            self.zero_point.copy_(source.zero_point)
            return
        ends = source.range_low, source.range_high
        # A step that was changed since its range was set has moved the range with it.
        growth = source.scale / source.params_for(*ends, self.target)[0]
        scale, zero_point = source.params_for(*ends, self.scheme)
        self.base_scale.copy_(scale * growth)
        self.zero_point.copy_(zero_point)

    @property
    def scale(self) -> Tensor:
        """The step at the current bit-width; differentiable."""
        return self.base_scale * self.log_gain.exp()

    def forward(self, x: Tensor) -> Tensor:
        """Fake-quantize ``x``; differentiable in ``x`` and the step."""
        if not self.enabled:
            return x
        if self.rounding is not None:
            return self.rounding(x)
        quant_min, quant_max = self.scheme.bounds
        low, high = quant_min - self.zero_point, quant_max - self.zero_point
        if self.units is not None:
            low, high = self.units[0], self.units[-1]
        low = ops.per_channel(low, x.dim(), self.ch_axis)
        high = ops.per_channel(high, x.dim(), self.ch_axis)
        scale = ops.per_channel(self.scale, x.dim(), self.ch_axis)
        dropped = None
        if self.drop_prob > 0.0:
            dropped = random_mask(x, self.drop_prob, self.generator)
        if torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad):
            return _FakeQuantize.apply(x, scale, low, high, dropped, self.units)
        quantized = _codes(x / scale, low, high, self.units).mul_(scale)
        return quantized if dropped is None else choose(dropped, x, quantized)

    def prepare_rounding(self, weight: Tensor) -> nn.Parameter:
        """The roundings of ``weight``, which count from :meth:`start_rounding` on."""
        self.v = nn.Parameter(torch.zeros_like(weight))
        return self.v

    @torch.no_grad()
    def start_rounding(self, weight: Tensor, keep: bool = False) -> None:
        """From now on step and ``weight`` stay, and its rounding up or down is learned.

        Args:
            weight: As it is from now on.
            keep: Go on with the roundings as they are, in place of those that give ``weight``.

        Raises:
            RuntimeError: The bit-width is not the source's, or :meth:`prepare_rounding` was not
                called.
        """
        if self.scheme != self.target or self.v is None:
            raise RuntimeError("rounding is learned at the target, after prepare_rounding")
        self.rounding = AdaptiveRoundingQuantizer(self, weight)
        if not keep:
            self.v.copy_(self.rounding.v)
        self.rounding.v = self.v

    @torch.no_grad()
    def commit(self) -> None:
        """Write the learned step to the source.

        Raises:
            RuntimeError: The bit-width is not the source's.
        """
        if self.scheme != self.target:
            raise RuntimeError(f"committed at {self.scheme}, calibrated for {self.target}")
        self._source[0].scale.copy_(self.scale)

    def fingerprint(self) -> tuple[object, ...]:
        """Never the same: nothing is cached while the step is being learned."""
        return (object(),)


class _FakeQuantize(torch.autograd.Function):
    """The gradients of :func:`mmptq.ops.fake_quantize` in fewer passes over memory, with dropping.

    A dropped element is passed on as it is, and so is its gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        low: Tensor,
        high: Tensor,
        dropped: Tensor | None,
        units: Tensor | None,
    ) -> Tensor:
        passed = None if dropped is None else x * dropped.to(x.dtype)
        # What is dropped stands at 0, which is always a level: of no gradient to the step, and
        # inside the bounds, so that its own gradient passes.
        steps = (x if passed is None else x - passed) / scale
        codes = _codes(steps, low, high, units)
        ctx.save_for_backward(steps, codes, low, high, scale)
        if passed is None:
            return codes * scale
        return torch.addcmul(passed.to(codes.dtype), codes, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        steps, codes, low, high, scale = ctx.saved_tensors
        (grad,) = grads
        inside = _where_inside(grad, steps, low, high)
        grad_scale = None
        if ctx.needs_input_grad[1]:
            # Inside, the gradient is the rounding error codes - steps, outside the level.
            grad_scale = _sum_of_products(codes, grad, scale.shape)
            grad_scale -= _sum_of_products(steps, inside, scale.shape)
        return inside, grad_scale, None, None, None, None


def _codes(steps: Tensor, low: Tensor, high: Tensor, units: Tensor | None) -> Tensor:
    """The levels of ``steps``, in steps: whole numbers within the bounds, or the units."""
    return steps.round().clamp_(low, high) if units is None else nearest(steps, units)


def _where_inside(grad: Tensor, steps: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """``grad`` where ``low <= steps <= high``, else 0."""
    if low.numel() == 1 and grad.device.type == "cpu":
        # Its bounds do not count as inside; one pass over memory in place of five.
        bounds = float(low.nextafter(low - 1)), float(high.nextafter(high + 1))
        return torch.ops.aten.hardtanh_backward(grad, steps, *bounds)
    return grad * (steps >= low).logical_and_(steps <= high).to(grad.dtype)


def _sum_of_products(a: Tensor, b: Tensor, shape: torch.Size) -> Tensor:
    """``(a * b)`` summed to ``shape``, without the product where a dot product does."""
    if shape.numel() == 1 and a.stride() == b.stride():
        a, b = in_memory_order(a), in_memory_order(b)
        if a.is_contiguous():
            return torch.dot(a.flatten(), b.flatten()).reshape(shape)
    return (a * b).sum_to_size(shape)


def random_mask(like: Tensor, prob: float, generator: torch.Generator | None) -> Tensor:
    """Bool tensor of the shape of ``like``, each element true with probability ``prob`` < 1.

    ``prob`` is rounded to a multiple of 2^-16: four elements share one 64-bit random number, eight
    where a multiple of 2^-8 will do, since drawing one for each would take longer than all else on
    a CPU.
    """
    bits, part = (8, torch.int8) if (prob * 2**8).is_integer() else (16, torch.int16)
    count, each = like.numel(), 64 // bits
    words = torch.empty((count + each - 1) // each, dtype=torch.int64, device=like.device)
    words.random_(-(2**63), None, generator=generator)
    threshold = round(prob * 2**bits) - 2 ** (bits - 1)
    mask = words.view(part)[:count] < threshold
    if in_memory_order(like) is like:
        return mask.reshape(like.shape)
    return mask.reshape(like.shape[0], *like.shape[2:], like.shape[1]).movedim(-1, 1)


def in_memory_order(x: Tensor) -> Tensor:
    """A view with the channels last of what is kept so, ``x`` itself otherwise."""
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return x.movedim(1, -1) if last and not x.is_contiguous() else x


def choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """``torch.where`` of finite tensors of one dtype, several times as fast on a CPU."""
    return torch.lerp(no, yes, mask.to(no.dtype))
