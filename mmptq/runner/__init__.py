"""The runner that takes a config from float weights to a quantized checkpoint."""

from mmptq.runner.calibration_runner import CalibrationRunner

__all__ = ["CalibrationRunner"]
