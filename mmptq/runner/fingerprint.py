"""What the results of a run's stages depend on: a resumed run must agree with it."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import nn

from mmptq.fileio import plain
from mmptq.models import state_digest
from mmptq.runner.calib_dataset import calibration_dataset_cfg

# They decide what is done and how fast, not what comes out: a resumed run may change them.
_FREE_CALIB_KEYS = ("baseline", "cache_gb", "eval_float")
_FREE_LOADER_KEYS = ("num_workers", "persistent_workers", "pin_memory", "prefetch_factor")


def stage_fingerprint(cfg: Config, float_checkpoint: str, model: nn.Module) -> dict[str, Any]:
    """Nested plain values, for :class:`mmptq.engine.StageStore`.

    Args:
        cfg: The whole config.
        float_checkpoint: Path or URL of the float weights.
        model: With the float weights loaded; their digest shows whether the file has changed.
    """
    fingerprint = {
        "float_checkpoint": float_checkpoint,
        "float_weights": state_digest(model.state_dict().items()),
        "calib_cfg": _without(cfg.calib_cfg, _FREE_CALIB_KEYS),
        "qconfig": cfg.qconfig,
        "model": cfg.model,
        "calib_dataloader": {"dataset": calibration_dataset_cfg(cfg)},
        "test_dataloader": _without(cfg.test_dataloader, _FREE_LOADER_KEYS),
        "test_evaluator": cfg.test_evaluator,
    }
    return plain(fingerprint)


def _without(cfg: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in cfg.items() if key not in keys}
