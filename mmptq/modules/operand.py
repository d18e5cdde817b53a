"""Layers without a weight: what reads an activation through a quantizer, and passes it on."""

import torch
from torch import Tensor, nn
from typing_extensions import Self

from mmptq.modules.layer import QuantLayer


class Operand(nn.Module):
    """What a matrix product reads on one of its sides; passes it on.

    A product of two activations has no module of its own that could be swapped, so each of its
    sides gets one: the trace sees it, and the plan gives it a quantizer like any layer's input.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x``, behind an autograd node of its own, by which the trace knows it."""
        return x.view_as(x)


class QuantOperand(QuantLayer):
    """An operand read through a quantizer: a layer with an input, and without a weight.

    An empty tensor stands for the weight, so that whoever goes through all layers need not ask.
    """

    @classmethod
    def from_float(cls, layer: nn.Module) -> Self:
        """Take the place of the operand ``layer``."""
        new = super().from_float(layer)
        new.register_buffer("weight", torch.empty(0), persistent=False)
        return new

    def forward(self, input: Tensor) -> Tensor:
        """What this call's quantizer makes of ``input``."""
        return self.quantize_input(input).view_as(input)


class Output(QuantOperand):
    """What reads the output of the layer whose ``output`` it is, instead of everybody else.

    Runtimes fuse a convolution with the one quantizer behind it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """What this call's quantizer makes of ``input``, in a tensor that others may write to."""
        return self.quantize_input(input).clone()


class ReluOutput(Output):
    """An output behind the ReLU that follows; the model's own then finds nothing to do."""

    def divided(self, x: Tensor) -> Tensor:
        """``x`` as it arrives at the quantizer: behind the ReLU."""
        return super().divided(x).relu()


# By the names that the plan has for them, which are no names of classes of layers.
OUTPUTS: dict[str, type[Output]] = {"quantized output": Output, "quantized ReLU": ReluOutput}
