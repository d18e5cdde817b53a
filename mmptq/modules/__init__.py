"""Quantized layers that take the place of their float originals."""

from mmptq.modules.attention import AttentionProduct, product_macs
from mmptq.modules.conv import QuantConv2d
from mmptq.modules.expand import expand_attention, expanded_attention
from mmptq.modules.layer import QuantLayer
from mmptq.modules.linear import QuantLinear
from mmptq.modules.multihead import ExpandedMultiheadAttention
from mmptq.modules.operand import Operand, QuantOperand
from mmptq.modules.packed_linear import PackedLinear, QuantPackedLinear
from mmptq.modules.swap import QUANTIZABLE, replace_module, to_quantized
from mmptq.modules.window_attention import ExpandedWindowMSA

__all__ = [
    "QUANTIZABLE",
    "AttentionProduct",
    "ExpandedMultiheadAttention",
    "ExpandedWindowMSA",
    "Operand",
    "PackedLinear",
    "QuantConv2d",
    "QuantLayer",
    "QuantLinear",
    "QuantOperand",
    "QuantPackedLinear",
    "expand_attention",
    "expanded_attention",
    "product_macs",
    "replace_module",
    "to_quantized",
]
