"""What the algorithms run on: calibration images, statistics, finished stages."""

from mmptq.engine.context import CalibrationContext, Track
from mmptq.engine.data.calibration_set import CalibrationSet
from mmptq.engine.data.channel_ranges import channel_ranges, channel_statistics
from mmptq.engine.data.collect import check_activations, check_weights, collect_statistics
from mmptq.engine.data.float_checkpoint import load_float_checkpoint
from mmptq.engine.data.images import (
    check_files,
    concatenated_datasets,
    image_path,
    inner_datasets,
    load_picture,
    plain_files,
)
from mmptq.engine.data.reach import check_reached
from mmptq.engine.incremental.evaluator import LossEvaluator
from mmptq.engine.incremental.objectives import (
    CalibrationImage,
    CrossEntropy,
    LastStageDistance,
    Objective,
    OutputDistance,
    TaskLoss,
)
from mmptq.engine.incremental.probing import float_form, probing
from mmptq.engine.incremental.self_check import check_task_loss
from mmptq.engine.storage.search_log import SearchLog
from mmptq.engine.storage.store import StageStore, remove_leftovers
from mmptq.engine.storage.tensor_cache import TensorCache

__all__ = [
    "CalibrationContext",
    "CalibrationImage",
    "CalibrationSet",
    "CrossEntropy",
    "LastStageDistance",
    "LossEvaluator",
    "Objective",
    "OutputDistance",
    "SearchLog",
    "StageStore",
    "TaskLoss",
    "TensorCache",
    "Track",
    "channel_ranges",
    "channel_statistics",
    "check_activations",
    "check_files",
    "check_reached",
    "check_task_loss",
    "check_weights",
    "collect_statistics",
    "concatenated_datasets",
    "float_form",
    "image_path",
    "inner_datasets",
    "load_float_checkpoint",
    "load_picture",
    "plain_files",
    "probing",
    "remove_leftovers",
]
