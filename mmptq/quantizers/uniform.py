"""The uniform quantizer of one tensor."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmptq import ops
from mmptq.ops import QuantScheme
from mmptq.registry import QUANTIZERS


@QUANTIZERS.register_module()
class UniformQuantizer(nn.Module):
    """Fake-quantizes a tensor with evenly spaced levels, of which one is exactly zero.

    (At a real bit-width the outermost spaces are narrower, see :mod:`mmptq.ops`.)

    The quantizer passes tensors through unchanged until it has a range (:meth:`set_range`, or a
    loaded state) and whenever :attr:`enabled` is off. Everything that decides its levels is in its
    state dict, so a reloaded quantizer computes the same bits.

    Args:
        num_bits: Whole or real bit-width in [1, 16].
        symmetric: Zero point 0. A symmetric quantizer becomes unsigned when its range holds no
            negative value (an activation behind a ReLU). Otherwise affine with unsigned codes.
        ch_axis: Axis with one step per channel, ``None`` for one step for the whole tensor.
        num_channels: Size of that axis.
    """

    # Whether integers of a runtime can stand for the codes.
    exportable = True

    scale: Tensor
    zero_point: Tensor
    num_bits: Tensor
    signed: Tensor
    range_low: Tensor
    range_high: Tensor

    def __init__(
        self,
        num_bits: float,
        symmetric: bool = True,
        ch_axis: int | None = None,
        num_channels: int | None = None,
    ) -> None:
        super().__init__()
        if (ch_axis is None) != (num_channels is None):
            raise ValueError("ch_axis and num_channels must be given together")
        self.ch_axis = ch_axis
        self.scheme = QuantScheme(float(num_bits), symmetric, signed=symmetric)
        self.enabled = False
        shape = () if num_channels is None else (num_channels,)
        # A step of NaN cannot be mistaken for a calibrated one.
        self.register_buffer("scale", torch.full(shape, float("nan")))
        self.register_buffer("zero_point", torch.zeros(shape))
        # float64: a real-valued bit-width survives saving exactly.
        self.register_buffer("num_bits", torch.tensor(float(num_bits), dtype=torch.float64))
        self.register_buffer("signed", torch.tensor(symmetric))
        # The range before any rounding: a change of the bit-width starts from it.
        self.register_buffer("range_low", torch.full(shape, float("nan")))
        self.register_buffer("range_high", torch.full(shape, float("nan")))

    @property
    def calibrated(self) -> bool:
        """Whether the quantizer has a range."""
        return not bool(self.scale.isnan().any())

    def scheme_for(self, low: Tensor) -> QuantScheme:
        """The scheme that the quantizer has when its range begins at ``low``."""
        signed = self.scheme.symmetric and bool((low < 0).any())
        return replace(self.scheme, signed=signed)

    def params_for(self, low: Tensor, high: Tensor, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        """Step and zero point for a range; shapes as for :func:`ops.range_to_params`."""
        return ops.range_to_params(low, high, scheme)

    def units_for(self, low: Tensor, high: Tensor, scheme: QuantScheme) -> Tensor | None:
        """The levels in steps, ``(L,)`` ascending; ``None``: all whole numbers within bounds."""
        return None

    @torch.no_grad()
    def set_range(self, low: Tensor, high: Tensor) -> None:
        """Cover ``[low, high]`` (0-dim or ``(C,)``) and switch the quantizer on.

        Raises:
            ValueError: The shapes do not fit, or a bound is not finite.
        """
        if low.shape != self.scale.shape or high.shape != self.scale.shape:
            raise ValueError(
                f"range of shape {tuple(low.shape)} for steps of {tuple(self.scale.shape)}"
            )
        if not bool((low.isfinite() & high.isfinite()).all()):
            raise ValueError("the range of a quantizer must be finite")
        self._set_scheme(self.scheme_for(low))
        self.range_low.copy_(low)
        self.range_high.copy_(high)
        self._fit_levels()
        self.enabled = True

    @torch.no_grad()
    def forget_range(self) -> None:
        """Be as without any range again, and off."""
        for tensor in (self.scale, self.range_low, self.range_high):
            tensor.fill_(float("nan"))
        self.zero_point.zero_()
        self._set_scheme(replace(self.scheme, signed=self.scheme.symmetric))
        self.enabled = False

    @torch.no_grad()
    def set_num_bits(self, num_bits: float) -> None:
        """Change the bit-width and keep the clip range: ``s' = s (2^b - 1) / (2^b' - 1)``.

        However many changes lead there, the levels are those that :meth:`set_range` gives at the
        new bit-width. A step that was multiplied or learned since has moved the range with it; the
        zero point always follows from the range.
        """
        calibrated = self.calibrated
        if calibrated:
            fitted, _ = self.params_for(self.range_low, self.range_high, self.scheme)
            # Exactly 1 for a step that nobody changed: nothing drifts.
            growth = self.scale / fitted
            self.range_low.mul_(growth)
            self.range_high.mul_(growth)
        self._set_scheme(replace(self.scheme, num_bits=float(num_bits)))
        if calibrated:
            self._fit_levels()

    def forward(self, x: Tensor) -> Tensor:
        """Fake-quantize ``x`` (any shape; with ``ch_axis`` its size there is ``num_channels``)."""
        if not self.enabled:
            return x
        return ops.fake_quantize(
            x, self.scale, self.zero_point, *self.scheme.bounds, ch_axis=self.ch_axis
        )

    def quantize(self, x: Tensor) -> Tensor:
        """Codes of ``x`` as a float tensor, whole numbers at whole bits (:func:`ops.quantize`)."""
        return ops.quantize(
            x, self.scale, self.zero_point, *self.scheme.bounds, ch_axis=self.ch_axis
        )

    def fingerprint(self) -> tuple[object, ...]:
        """Changes whenever the quantizer's output for a given input may change."""
        tensors = (self.scale, self.zero_point)
        return (self.enabled, self.scheme, *((t.data_ptr(), t._version) for t in tensors))

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        kind = "symmetric" if self.scheme.symmetric else "affine"
        where = "per_tensor" if self.ch_axis is None else f"ch_axis={self.ch_axis}"
        return f"num_bits={self.scheme.num_bits:g}, {kind}, {where}, enabled={self.enabled}"

    def _fit_levels(self) -> None:
        """Step and zero point for the range and the scheme as they are."""
        scale, zero_point = self.params_for(self.range_low, self.range_high, self.scheme)
        self.scale.copy_(scale)
        self.zero_point.copy_(zero_point)

    def _set_scheme(self, scheme: QuantScheme) -> None:
        self.scheme = scheme
        self.num_bits.fill_(scheme.num_bits)
        self.signed.fill_(scheme.signed)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        # Python mirrors of the two buffers: reading a tensor in every forward would stall a GPU.
        self.scheme = replace(self.scheme, num_bits=float(self.num_bits), signed=bool(self.signed))
        self.enabled = self.calibrated
