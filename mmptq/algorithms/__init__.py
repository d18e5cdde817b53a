"""Steps: each chooses quantization parameters; a recipe is a list of them."""

from mmptq.algorithms.base import Step
from mmptq.algorithms.bias_correction import BiasCorrection
from mmptq.algorithms.equalization import Equalization, NormReparametrization
from mmptq.algorithms.gptq import GPTQ
from mmptq.algorithms.lapq import JointSearch, LpInterpolation, RandomRanges
from mmptq.algorithms.mixed_precision import MixedPrecision
from mmptq.algorithms.range_calibration import RangeCalibration
from mmptq.algorithms.reconstruction import (
    BRECQ,
    AdaRound,
    BitShrinking,
    LearnedSteps,
    QDrop,
    Reconstruction,
)

__all__ = [
    "BRECQ",
    "GPTQ",
    "AdaRound",
    "BiasCorrection",
    "BitShrinking",
    "Equalization",
    "JointSearch",
    "LearnedSteps",
    "LpInterpolation",
    "MixedPrecision",
    "NormReparametrization",
    "QDrop",
    "RandomRanges",
    "RangeCalibration",
    "Reconstruction",
    "Step",
]
