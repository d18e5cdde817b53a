"""Which float layers have a quantized counterpart."""

from typing import Any

from mmcv.cnn.bricks import wrappers
from torch import nn

from mmptq.modules.conv import QuantConv2d
from mmptq.modules.layer import QuantLayer
from mmptq.modules.linear import QuantLinear
from mmptq.modules.operand import Operand, QuantOperand
from mmptq.modules.packed_linear import PackedLinear, QuantPackedLinear

# Exact types: a subclass may compute something else (a deformable or weight-standardised
# convolution). mmcv's wrappers only add handling of empty batches for old PyTorch versions.
QUANTIZABLE: dict[type[nn.Module], type[QuantLayer]] = {
    nn.Conv2d: QuantConv2d,
    wrappers.Conv2d: QuantConv2d,
    nn.Linear: QuantLinear,
    wrappers.Linear: QuantLinear,
    PackedLinear: QuantPackedLinear,
    Operand: QuantOperand,
}


def to_quantized(layer: nn.Module) -> QuantLayer:
    """The quantized counterpart of ``layer``, sharing its parameters, with no quantizer set."""
    cls: Any = QUANTIZABLE[type(layer)]
    return cls.from_float(layer)


def replace_module(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever ``root`` holds ``old``; a shared module hangs under several names."""
    for parent in list(root.modules()):
        for name, child in list(parent._modules.items()):  # named_children() skips repetitions
            if child is old:
                setattr(parent, name, new)
