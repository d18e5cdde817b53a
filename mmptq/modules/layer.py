"""What every quantized layer has: a weight quantizer and quantizers of its inputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from mmptq import ops
from mmptq.modules.channels import channel_axis, channels_first, out_channels
from mmptq.modules.sharing import share
from mmptq.quantizers import UniformQuantizer


class QuantLayer(nn.Module):
    """Mixin of a layer that multiplies the input it reads first by one weight.

    It stands before the float class among the bases and computes with that class' own forward.

    Activations are quantized where a layer reads them. A tensor that several layers read has one
    quantizer: one of them *owns* it (it is in that layer's ``input_quantizers`` and so in the state
    dict once), the others hold a reference. A layer that runs several times per image, such as a
    head over the FPN levels, may read through a different quantizer in every call.
    """

    # Buffers that are in a state dict only where there is such a thing.
    OPTIONAL = ("weight_correction", "bias_correction", "input_factor")

    weight: Tensor
    weight_correction: Tensor | None
    bias_correction: Tensor | None
    input_factor: Tensor | None
    float_weight: Tensor | None
    output: nn.Module | None

    @classmethod
    def from_float(cls, layer: nn.Module) -> Self:
        """Make one that shares the parameters of ``layer``."""
        new = share(cls, layer)
        new._init_quantizers()
        return new

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The float layer's, with what the quantizers make of ``input`` and the weight."""
        # Attributes hide the parameters of their names, for as long as the layer computes.
        hidden = self._hidden_bias(input)
        x = self.quantize_input(input)
        hidden["weight"] = self.quantized_weight()
        self.__dict__.update(hidden)
        try:
            y = self._product(x, *args, **kwargs)
        finally:
            for name in hidden:
                del self.__dict__[name]
        return y if self.output is None else self.output(y)

    def _product(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        return super().forward(x, *args, **kwargs)

    @property
    def ch_axis(self) -> int:
        """Axis of the weight along which steps per channel lie."""
        return channel_axis(self)

    # The calls in which the bias is rounded as integer runtimes round it; the plan says which.
    int32_bias: frozenset[int] = frozenset()

    def _init_quantizers(self) -> None:
        self.weight_quantizer: UniformQuantizer | None = None
        self.input_quantizers = nn.ModuleList()
        # Through what everybody reads the output (mmptq.modules.Output), if the plan has it.
        self.register_module("output", None)
        # A key of ops.WEIGHT_CORRECTIONS, None for no correction: then it is not in the state dict.
        self.register_buffer("weight_correction", None)
        self.register_buffer("bias_correction", None)
        self.register_buffer("input_factor", None)
        # Beside a rounded weight while a recipe runs; checkpoints are done without.
        self.register_buffer("float_weight", None, persistent=False)
        self._readers: tuple[UniformQuantizer | None, ...] = (None,)
        self._calls = 0
        self._correction: str | None = None
        self._cached_weight: tuple[object, tuple[Tensor, ...], Tensor] | None = None

    def set_weight_correction(self, mode: str | None) -> None:
        """Correct each output channel of the quantized weight, see :func:`ops.correct_weight`."""
        code = None if mode is None else torch.tensor(ops.WEIGHT_CORRECTIONS.index(mode))
        self.weight_correction = None if code is None else code.to(self.weight.device)
        self._correction = mode

    def set_bias_correction(self, correction: Tensor | None) -> None:
        """Add ``(out_channels,)`` to the bias wherever the layer computes with a quantizer.

        With its quantizers off the layer is the float one, and has nothing to be corrected.
        """
        if correction is None or self.bias_correction is None:
            copy = None if correction is None else correction.detach().to(self.weight, copy=True)
            self.bias_correction = copy
        else:
            self.bias_correction.copy_(correction)

    def keep_float_weight(self, weight: Tensor) -> None:
        """Compute with ``weight`` wherever the weight's quantizer is off.

        For a step that puts rounded values in the weight's place. The first one kept stays.
        """
        if self.float_weight is None:
            self.float_weight = weight.detach().clone()

    def set_input_factor(self, factor: Tensor | None) -> None:
        """Divide each channel of the input by its entry of ``factor`` ``(C,)``, then quantize.

        The weight is to be multiplied by the same factor along its input channels.
        """
        self.input_factor = None if factor is None else factor.to(self.weight)

    def divided(self, x: Tensor) -> Tensor:
        """``x`` as it arrives at the quantizer: divided by the input factor, if there is one."""
        if self.input_factor is None:
            return x
        return x / self.input_factor.view(-1, *[1] * (self.weight.dim() - 2))

    def bind_inputs(self, readers: Sequence[UniformQuantizer | None]) -> None:
        """Set the quantizer of each call of one forward pass; one entry serves every call."""
        self._readers = tuple(readers)

    def reset_calls(self) -> None:
        """Start a new forward pass of the model."""
        self._calls = 0

    def skip_calls(self, count: int) -> None:
        """Count calls whose outputs somebody else provides."""
        self._calls += count

    def fingerprint(self, call: int) -> tuple[object, ...]:
        """Changes whenever the output of this call for a given input may change."""
        bias: Tensor | None = getattr(self, "bias", None)
        tensors = (self.weight, bias, self.bias_correction, self.input_factor)
        quantizers = self.weight_quantizer, self.reader(call)
        return (
            self._correction,
            *((t.data_ptr(), t._version) for t in tensors if t is not None),
            *(None if q is None else q.fingerprint() for q in quantizers),
        )

    def fingerprints(self) -> tuple[object, ...]:
        """Those of all calls that differ in what they read through."""
        return tuple(self.fingerprint(call) for call in range(len(self._readers)))

    def reader(self, call: int) -> UniformQuantizer | None:
        """The quantizer through which a call reads its input."""
        return self._readers[0] if len(self._readers) == 1 else self._readers[call]

    @property
    def calls(self) -> int:
        """How often the layer has run in this forward pass."""
        return self._calls

    @property
    def next_reader(self) -> UniformQuantizer | None:
        """The quantizer through which the next call reads its input.

        Raises:
            RuntimeError: The layer ran more often in this forward pass than when it was prepared.
        """
        if 1 < len(self._readers) <= self._calls:
            raise RuntimeError(
                f"{type(self).__name__} was prepared for {len(self._readers)} calls per forward "
                "pass and is called once more; call the model through its own forward (which "
                "starts a new pass), or prepare it with per_call=False"
            )
        return self.reader(self._calls)

    def quantize_input(self, x: Tensor) -> Tensor:
        """Read ``x`` through this call's quantizer and count the call."""
        reader = self.next_reader
        self._calls += 1
        x = self.divided(x)
        return x if reader is None else reader(x)

    def quantized_weight(self) -> Tensor:
        """The fake-quantized weight; kept between forward passes that need no gradient."""
        quantizer = self.weight_quantizer
        if quantizer is None or not quantizer.enabled:
            return self.weight if self.float_weight is None else self.float_weight
        if torch.is_grad_enabled():
            return self._corrected(quantizer(self.weight))
        weight = (self.weight.data_ptr(), self.weight._version)
        state = (weight, quantizer.fingerprint(), self._correction)
        if self._cached_weight is None or self._cached_weight[0] != state:
            # Aliases keep the storages alive: the address of a freed one may come back with other
            # values in it, when someone assigns `weight.data` twice.
            sources = (self.weight.detach(), *(t.detach() for t in quantizer.buffers()))
            self._cached_weight = (state, sources, self._corrected(quantizer(self.weight)))
        return self._cached_weight[2]

    def _hidden_bias(self, x: Tensor) -> dict[str, Tensor]:
        """What stands in the place of the bias in this call on ``x``, if anything does."""
        if self.bias_correction is None and not self.int32_bias:
            return {}
        quantizers = (self.weight_quantizer, self.next_reader)
        enabled = [quantizer is not None and quantizer.enabled for quantizer in quantizers]
        if not any(enabled):
            return {}
        bias: Tensor | None = getattr(self, "bias", None)
        correction = self.bias_correction
        if correction is not None:
            bias = correction if bias is None else bias + correction
        if bias is None:
            return {}
        # A product of tokens has its bias added behind it, by an operator that no one fuses.
        fused = self._calls in self.int32_bias and (self.weight.dim() > 2 or x.dim() == 2)
        if fused and all(enabled):
            bias = self._whole_steps(bias)
        return {"bias": bias}

    @torch.no_grad()
    def _whole_steps(self, bias: Tensor) -> Tensor:
        """The bias as a 32-bit integer in steps of the accumulator, which runtimes make of it.

        A range per channel has no one step; transposed convolutions are computed in float. A bias
        that has no room in 32 bits, of a channel whose weights are next to 0, is left as it is.
        """
        weight, reader = self.weight_quantizer, self.next_reader
        assert weight is not None and reader is not None
        if reader.ch_axis is not None or self.ch_axis != 0:
            return bias
        # While its rounding is learned, a weight's steps have the weight's number of axes.
        step = reader.scale * weight.scale.flatten()
        whole = (bias / step).round_()
        return torch.where(whole.abs() < 2.0**31, whole * step, bias)

    def _corrected(self, quantized: Tensor) -> Tensor:
        if self._correction is None:
            return quantized
        rows, float_rows = channels_first(self, quantized), channels_first(self, self.weight)
        return channels_first(self, ops.correct_weight(rows, float_rows, self._correction))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # The state decides: a buffer is there only where a correction or a factor is.
        self.float_weight = None
        code = state_dict.get(f"{prefix}weight_correction")
        self.set_weight_correction(None if code is None else ops.WEIGHT_CORRECTIONS[int(code)])
        known = f"{prefix}bias_correction" in state_dict
        self.set_bias_correction(self.weight.new_zeros(out_channels(self)) if known else None)
        factor = state_dict.get(f"{prefix}input_factor")
        self.set_input_factor(None if factor is None else torch.empty_like(factor))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
