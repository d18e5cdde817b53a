"""Steps: each chooses quantization parameters; a recipe is a list of them."""

from mmptq.algorithms.base import Step
from mmptq.algorithms.bias_correction import BiasCorrection
from mmptq.algorithms.lapq import JointSearch, LpInterpolation, RandomRanges
from mmptq.algorithms.range_calibration import RangeCalibration

__all__ = [
    "BiasCorrection",
    "JointSearch",
    "LpInterpolation",
    "RandomRanges",
    "RangeCalibration",
    "Step",
]
