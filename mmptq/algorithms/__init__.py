"""Steps: each chooses quantization parameters; a recipe is a list of them."""

from mmptq.algorithms.base import Step
from mmptq.algorithms.range_calibration import RangeCalibration

__all__ = ["RangeCalibration", "Step"]
