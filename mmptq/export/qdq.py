"""Quantizers that leave QuantizeLinear and DequantizeLinear in the graph while it is exported."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmptq import ops
from mmptq.export.attributes import attribute
from mmptq.models import QuantModel
from mmptq.quantizers import UniformQuantizer

# Codes of a tensor have one of these types, whatever the number of their bits.
CODE_TYPES = {True: torch.int8, False: torch.uint8}  # signed, unsigned


class _Activation(torch.autograd.Function):
    """Fake-quantizes; in a graph it is Q, a clip of the codes below 8 bits, and DQ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, key: int) -> Tensor:
        return _fake_quantized(x, scale, zero_point, key)

    @staticmethod
    def symbolic(g: Any, x: Any, scale: Any, _: Any, key: int) -> Any:
        quantizer = _EMITTED[key].quantizer
        zero_point = g.op("Constant", value_t=quantizer.zero_point.to(code_type(quantizer)))
        axis = {} if quantizer.ch_axis is None else {"axis_i": _axis(x, quantizer.ch_axis)}
        codes = g.op("QuantizeLinear", x, scale, zero_point, **axis)
        ends = [torch.tensor(end).to(code_type(quantizer)) for end in quantizer.scheme.bounds]
        whole_type = torch.iinfo(ends[0].dtype)
        if [int(end) for end in ends] != [whole_type.min, whole_type.max]:
            codes = g.op("Clip", codes, *(g.op("Constant", value_t=end) for end in ends))
        codes.setType(x.type())
        output = g.op("DequantizeLinear", codes, scale, zero_point, **axis)
        output.setType(x.type())
        return output


class _Weight(torch.autograd.Function):
    """Fake-quantizes; in a graph it is DQ of the codes."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, zero_point: Tensor, key: int) -> Tensor:
        return _fake_quantized(weight, scale, zero_point, key)

    @staticmethod
    def symbolic(g: Any, weight: Any, scale: Any, _: Any, key: int) -> Any:
        quantizer, all_codes = _EMITTED[key]
        zero_point = g.op("Constant", value_t=quantizer.zero_point.to(code_type(quantizer)))
        axis = {} if quantizer.ch_axis is None else {"axis_i": quantizer.ch_axis}
        codes = g.op("Constant", value_t=all_codes)
        output = g.op("DequantizeLinear", codes, scale, zero_point, **axis)
        output.setType(weight.type())
        return output


class _Emitted(NamedTuple):
    """A quantizer, and the codes of the weight that it quantizes."""

    quantizer: UniformQuantizer
    codes: Tensor | None = None


# Of the model that is being exported; the exporter hands nothing but numbers to `symbolic`.
_EMITTED: dict[int, _Emitted] = {}


def code_type(quantizer: UniformQuantizer) -> torch.dtype:
    """Integer type of a quantizer's codes."""
    return CODE_TYPES[quantizer.scheme.signed]


def _fake_quantized(x: Tensor, scale: Tensor, zero_point: Tensor, key: int) -> Tensor:
    """What the quantizer computes; the tracer knows no tensors but the arguments."""
    quantizer = _EMITTED[key].quantizer
    bounds, axis = quantizer.scheme.bounds, quantizer.ch_axis
    return ops.fake_quantize(x, scale, zero_point, *bounds, ch_axis=axis)


def _axis(x: Any, axis: int) -> int:
    return axis if axis >= 0 else x.type().dim() + axis


@contextmanager
def emitting(model: QuantModel) -> Iterator[None]:
    """Quantizers of ``model`` write themselves into graphs that are exported in this context.

    Bias corrections are part of the biases meanwhile.
    """
    with ExitStack() as stack:
        for site in model.sites.values():
            if site.enabled:
                emit = _emitter(stack, _Activation, _Emitted(site))
                stack.enter_context(attribute(site, "forward", emit))
        for _, layer in model.quant_layers():
            weight = layer.weight_quantizer
            if weight is not None and weight.enabled:
                codes = weight.quantize(layer.weight.detach()).to(code_type(weight))
                emit = _emitter(stack, _Weight, _Emitted(weight, codes))
                stack.enter_context(
                    attribute(layer, "quantized_weight", partial(emit, layer.weight))
                )
            if layer.bias_correction is not None and _always_corrected(layer):
                stack.enter_context(_corrected_bias(layer))
            # The runtime rounds biases itself.
            stack.enter_context(attribute(layer, "int32_bias", frozenset()))
        yield


def _emitter(
    stack: ExitStack, function: type[torch.autograd.Function], emitted: _Emitted
) -> Callable[[Tensor], Tensor]:
    quantizer, key = emitted.quantizer, id(emitted.quantizer)
    _EMITTED[key] = emitted
    stack.callback(_EMITTED.pop, key)
    return lambda x: function.apply(x, quantizer.scale, quantizer.zero_point, key)


def _always_corrected(layer: Any) -> bool:
    """Whether every call has a quantizer on; else the graph itself adds corrections, or none."""
    weight = layer.weight_quantizer
    if weight is not None and weight.enabled:
        return True
    readers = [layer.reader(call) for call in range(layer.calls or 1)]
    return all(reader is not None and reader.enabled for reader in readers)


@contextmanager
def _corrected_bias(layer: Any) -> Iterator[None]:
    bias, correction = layer.bias, layer.bias_correction
    layer.bias = nn.Parameter(correction if bias is None else bias + correction, False)
    layer.bias_correction = None
    try:
        yield
    finally:
        layer.bias, layer.bias_correction = bias, correction
