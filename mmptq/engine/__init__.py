"""What the algorithms run on: calibration images, statistics, finished stages."""

from mmptq.engine.calibration_set import CalibrationSet, check_files, image_path
from mmptq.engine.collect import check_weights, collect_statistics
from mmptq.engine.context import CalibrationContext, Track
from mmptq.engine.float_checkpoint import load_float_checkpoint
from mmptq.engine.store import StageStore
from mmptq.engine.tensor_cache import TensorCache

__all__ = [
    "CalibrationContext",
    "CalibrationSet",
    "StageStore",
    "TensorCache",
    "Track",
    "check_files",
    "check_weights",
    "collect_statistics",
    "image_path",
    "load_float_checkpoint",
]
