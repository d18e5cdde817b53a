"""The runner that takes a config from float weights to a quantized checkpoint."""

from mmptq.runner.calibration_runner import CalibrationRunner
from mmptq.runner.measuring_runner import MeasuringRunner

__all__ = ["CalibrationRunner", "MeasuringRunner"]
