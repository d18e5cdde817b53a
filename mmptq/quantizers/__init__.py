"""Quantizers map a tensor to its fake-quantized tensor."""

from mmptq.quantizers.adaptive_rounding import AdaptiveRoundingQuantizer
from mmptq.quantizers.learned_step import LearnedStepQuantizer
from mmptq.quantizers.signed import SignedQuantizer
from mmptq.quantizers.uniform import UniformQuantizer

__all__ = [
    "AdaptiveRoundingQuantizer",
    "LearnedStepQuantizer",
    "SignedQuantizer",
    "UniformQuantizer",
]
