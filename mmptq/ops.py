r"""Quantization as pure functions of tensors.

A uniform quantizer with step :math:`s` (the papers' :math:`\Delta`), zero point :math:`z` and codes
``quant_min..quant_max`` maps

.. math:: \hat x = s \cdot \mathrm{clamp}(\mathrm{round}(x / s), q_{min} - z, q_{max} - z)

with rounding to nearest, ties to even. At a whole bit-width all four are whole numbers and this is
the usual ``s * (clamp(round(x / s) + z, q_min, q_max) - z)``.

At a *real-valued* bit-width :math:`b` the bounds are real (:math:`2^b - 1` apart), and so is an
affine zero point. The levels are the whole multiples of :math:`s` inside the range, zero among
them, and the two ends of the range. Step, ends and zero point are continuous in :math:`b`, and so
is the error over a tensor, which lets a bisection look for the bit-width with a given error. Ends
rounded to multiples (which is what clamping before rounding gives) would jump by a whole step.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_BITS = 1.0
MAX_BITS = 16.0
WEIGHT_CORRECTIONS = ("mean", "mean_norm")  # saved by position


@dataclass(frozen=True)
class QuantScheme:
    """What decides a quantizer's levels, apart from its range.

    Args:
        num_bits: Whole or real bit-width in [1, 16].
        symmetric: Zero point 0 (else affine: any range that holds 0).
        signed: Signed codes; only for ``symmetric`` (an affine quantizer has unsigned codes).
    """

    num_bits: float
    symmetric: bool
    signed: bool

    @property
    def levels(self) -> float:
        """Distance between the smallest and the largest code, ``2**num_bits - 1``."""
        return 2.0**self.num_bits - 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest code."""
        quant_min = -(2.0 ** (self.num_bits - 1.0)) if self.signed else 0.0
        return quant_min, quant_min + self.levels


def range_to_params(low: Tensor, high: Tensor, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
    """Step and zero point of the quantizer that covers ``[low, high]``.

    Symmetric: with ``c = max(|low|, |high|)`` the step is ``2c / (2^b - 1)`` when signed and
    ``c / (2^b - 1)`` when not (LAPQ eq. 2 and 3, corrected). Affine: the range is widened to hold 0
    and shifted, by at most half a step, so that 0 is an exact level.

    Args:
        low: Lower clip of each channel, any shape (0-dim for per-tensor).
        high: Upper clip, same shape, ``high >= low``.
        scheme: Bit-width and kind of the quantizer.

    Returns:
        ``scale`` and ``zero_point``, both of the shape of ``low``. Zero points are whole numbers at
        whole bits and continuous in the bit-width between. A channel whose range is empty (all
        zeros) gets the step 1.
    """
    if scheme.symmetric:
        clip = torch.maximum(low.abs(), high.abs()) if scheme.signed else high
        width = 2.0 * clip if scheme.signed else clip
    else:
        low, high = low.clamp(max=0.0), high.clamp(min=0.0)
        width = high - low
    scale = _step(width, scheme.num_bits)
    if scheme.symmetric:
        return scale, torch.zeros_like(scale)
    return scale, _zero_point(low, width, scheme.num_bits).clamp(0.0, scheme.levels)


def _step(width: Tensor, num_bits: float) -> Tensor:
    """``width`` in ``2^b - 1`` steps, 1 where it is 0."""
    step = (width / (2.0**num_bits - 1.0)).clamp(min=torch.finfo(width.dtype).tiny)
    return torch.where(width > 0, step, torch.ones_like(width))


def _zero_point(low: Tensor, width: Tensor, num_bits: float) -> Tensor:
    """Steps from ``low`` to 0, rounded at whole bits.

    What rounding adds is interpolated between these, linearly in the bit-width.
    """
    floor = math.floor(num_bits)
    if num_bits == floor:
        return (-low / _step(width, num_bits)).round()
    below, above = (-low / _step(width, bits) for bits in (floor, floor + 1))
    shift = torch.lerp(below.round() - below, above.round() - above, num_bits - floor)
    return -low / _step(width, num_bits) + shift


def per_channel(param: Tensor, ndim: int, ch_axis: int | None) -> Tensor:
    """Reshape a ``(C,)`` parameter to broadcast along ``ch_axis`` of an ``ndim`` tensor."""
    if ch_axis is None or param.dim() == 0:
        return param
    shape = [1] * ndim
    shape[ch_axis] = -1
    return param.reshape(shape)


def quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    quant_min: float,
    quant_max: float,
    ch_axis: int | None = None,
) -> Tensor:
    """Codes of ``x`` (a float tensor of its shape), not differentiable.

    At whole bits the codes are whole numbers, and :func:`dequantize` makes of them what
    :func:`fake_quantize` gives, bit for bit. At a real bit-width they are whole numbers of steps
    from the zero point, itself real, save for the two ends ``quant_min`` and ``quant_max``.

    ``scale`` and ``zero_point`` are 0-dim, or ``(C,)`` along ``ch_axis``.
    """
    scale = per_channel(scale, x.dim(), ch_axis)
    zero_point = per_channel(zero_point, x.dim(), ch_axis)
    steps = (x / scale).round_().clamp_(quant_min - zero_point, quant_max - zero_point)
    return (steps + zero_point).detach()


def dequantize(
    codes: Tensor, scale: Tensor, zero_point: Tensor, ch_axis: int | None = None
) -> Tensor:
    """Real values of ``codes``: ``scale * (codes - zero_point)``."""
    scale = per_channel(scale, codes.dim(), ch_axis)
    return (codes - per_channel(zero_point, codes.dim(), ch_axis)) * scale


def fake_quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    quant_min: float,
    quant_max: float,
    ch_axis: int | None = None,
) -> Tensor:
    """Quantize and dequantize ``x``; same shape and dtype.

    Differentiable in ``x`` (straight through inside the clip range, zero outside) and in ``scale``
    (inside: rounding error; outside: the level), which is the gradient of LSQ (Esser et al. 2020,
    eq. 3). Without gradients the work is done in place on one new tensor.
    """
    scale = per_channel(scale, x.dim(), ch_axis)
    low, high = quant_min - zero_point, quant_max - zero_point
    low, high = per_channel(low, x.dim(), ch_axis), per_channel(high, x.dim(), ch_axis)
    if torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad):
        steps = x / scale
        inside = steps.clamp(low, high)
        rounding = (steps.round().clamp(low, high) - inside).detach()
        return (inside + rounding) * scale
    return (x / scale).round_().clamp_(low, high).mul_(scale)


def correct_weight(quantized: Tensor, weight: Tensor, mode: str) -> Tensor:
    r"""Give each output channel of a quantized weight the first moments of the float one.

    .. math:: \hat w_c' = \xi_c (\hat w_c - E \hat w_c) + E w_c

    (Banner et al. 2019, section 4, bias correction). ``"mean"``: :math:`\xi_c = 1`.
    ``"mean_norm"``: :math:`\xi_c = \|w_c - E w_c\| / \|\hat w_c - E \hat w_c\|`, 1 where the
    quantized channel is constant. The result's levels are still evenly spaced in each channel, but
    none of them need be zero.

    Args:
        quantized: ``(C, ...)``, fake-quantized.
        weight: The float weight, same shape.
        mode: One of :data:`WEIGHT_CORRECTIONS`.
    """
    shape = (-1, *[1] * (weight.dim() - 1))
    # float64: the moments hardly depend on the order in which a device sums.
    rows, float_rows = quantized.flatten(1).double(), weight.flatten(1).double()
    mean, float_mean = rows.mean(1), float_rows.mean(1)
    gain = torch.ones_like(mean)
    if mode == "mean_norm":
        norm = (rows - mean[:, None]).norm(dim=1)
        float_norm = (float_rows - float_mean[:, None]).norm(dim=1)
        gain = torch.where(norm > 0, float_norm / norm.clamp(min=1e-30), gain)
    shift = float_mean - gain * mean
    corrected = quantized.double() * gain.reshape(shape) + shift.reshape(shape)
    return corrected.to(quantized.dtype)
