"""Quantized layers that take the place of their float originals."""

from mmptq.modules.conv import QuantConv2d
from mmptq.modules.layer import QuantLayer
from mmptq.modules.linear import QuantLinear
from mmptq.modules.swap import QUANTIZABLE, replace_module, to_quantized

__all__ = [
    "QUANTIZABLE",
    "QuantConv2d",
    "QuantLayer",
    "QuantLinear",
    "replace_module",
    "to_quantized",
]
