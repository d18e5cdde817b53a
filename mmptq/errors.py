"""Errors that a user can act on: each message names the key or file, the value and the fix."""


class MmptqError(Exception):
    """Base of every error that mmptq raises about its input."""


class ConfigError(MmptqError, ValueError):
    """A config key has a value that cannot work."""


class CheckpointError(MmptqError, RuntimeError):
    """A checkpoint does not belong to the model or to the place where it was given."""


class CalibrationDataError(MmptqError, RuntimeError):
    """The calibration set is missing, empty, unreadable, or does not fit its annotations."""


class NumericalError(MmptqError, ArithmeticError):
    """NaN or Inf turned up in a tensor that is to be quantized."""
