"""Quantized layers that take the place of their float originals."""

from mmptq.modules.attention import AttentionProduct, product_macs
from mmptq.modules.channels import (
    channel_axis,
    channels_first,
    factor_axis,
    in_channels,
    inputs_first,
    out_channels,
)
from mmptq.modules.conditional_attention import ExpandedConditionalAttention
from mmptq.modules.conv import QuantConv2d, QuantConvTranspose2d
from mmptq.modules.deformable import ExpandedDeformPack, QuantDeformable
from mmptq.modules.embedding import EmbeddingTable, QuantEmbedding
from mmptq.modules.expand import expand_modules, expanded_modules
from mmptq.modules.layer import QuantLayer
from mmptq.modules.linear import QuantLinear
from mmptq.modules.modes import evaluating
from mmptq.modules.multihead import ExpandedMultiheadAttention
from mmptq.modules.norms import behind_norm
from mmptq.modules.operand import OUTPUTS, Operand, Output, QuantOperand
from mmptq.modules.packed_linear import PackedLinear, QuantPackedLinear
from mmptq.modules.probe import class_name
from mmptq.modules.self_attention import ExpandedMmpretrainAttention, ExpandedTimmAttention
from mmptq.modules.shifted_attention import ExpandedShiftedWindowAttention
from mmptq.modules.swap import QUANTIZABLE, quantized_class, replace_module, to_quantized
from mmptq.modules.window_attention import ExpandedWindowMSA

__all__ = [
    "OUTPUTS",
    "QUANTIZABLE",
    "AttentionProduct",
    "EmbeddingTable",
    "ExpandedConditionalAttention",
    "ExpandedDeformPack",
    "ExpandedMmpretrainAttention",
    "ExpandedMultiheadAttention",
    "ExpandedShiftedWindowAttention",
    "ExpandedTimmAttention",
    "ExpandedWindowMSA",
    "Operand",
    "Output",
    "PackedLinear",
    "QuantConv2d",
    "QuantConvTranspose2d",
    "QuantDeformable",
    "QuantEmbedding",
    "QuantLayer",
    "QuantLinear",
    "QuantOperand",
    "QuantPackedLinear",
    "behind_norm",
    "channel_axis",
    "channels_first",
    "class_name",
    "evaluating",
    "expand_modules",
    "expanded_modules",
    "factor_axis",
    "in_channels",
    "inputs_first",
    "out_channels",
    "product_macs",
    "quantized_class",
    "replace_module",
    "to_quantized",
]
