"""Quantizers map a tensor to its fake-quantized tensor."""

from mmptq.quantizers.adaptive_rounding import AdaptiveRoundingQuantizer
from mmptq.quantizers.learned_step import LearnedStepQuantizer
from mmptq.quantizers.levels import LevelQuantizer
from mmptq.quantizers.log import LogQuantizer
from mmptq.quantizers.signed import SignedQuantizer
from mmptq.quantizers.twin import TwinQuantizer
from mmptq.quantizers.uniform import UniformQuantizer

__all__ = [
    "AdaptiveRoundingQuantizer",
    "LearnedStepQuantizer",
    "LevelQuantizer",
    "LogQuantizer",
    "SignedQuantizer",
    "TwinQuantizer",
    "UniformQuantizer",
]
