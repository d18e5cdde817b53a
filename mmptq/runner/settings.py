"""``calib_cfg``: the recipe and its surroundings, checked before any work is done."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mmptq.algorithms import Step
from mmptq.errors import ConfigError
from mmptq.models.specs import check_bool
from mmptq.registry import STEPS, build


@dataclass(frozen=True)
class CalibrationSettings:
    """The parsed ``calib_cfg``.

    Args:
        method: Label of the recipe's row in the results.
        steps: The recipe.
        num_images: Calibration images.
        seed: Decides which images, and seeds every step.
        baseline: Whether the naive min-max row is made beside the recipe's.
        eval_float: Whether the float model is evaluated first.
        cache_gb: Memory budget of the decoded calibration images, in GiB; the rest spills to disk.
        batch_size: Calibration images that go through the network together; classifiers only.
        check_images: Images beside these on which learned steps must do better than their start; as
            many as there are, 0 for no check.
        units: Patterns of module names: what they match is reconstructed as a whole, in place of
            the blocks that are found by structure.
    """

    method: str
    steps: tuple[Step, ...]
    num_images: int = 32
    seed: int = 0
    baseline: bool = True
    eval_float: bool = True
    cache_gb: float = 4.0
    batch_size: int = 1
    check_images: int = 8
    units: tuple[str, ...] = ()

    @property
    def images_to_judge(self) -> int:
        """How many images beside the calibration images the recipe has a use for."""
        learns = any(step.judged_by is not None for step in self.steps)
        return self.check_images if learns else 0

    @classmethod
    def parse(cls, cfg: Mapping[str, Any]) -> "CalibrationSettings":
        """Read and check a ``calib_cfg`` dict, and build its steps.

        Raises:
            ConfigError: Naming the key, the value and what would be right.
        """
        if not isinstance(cfg, Mapping):
            raise ConfigError(f"calib_cfg = {cfg!r}: must be a dict")
        known = [f.name for f in fields(cls)]
        for key in cfg:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
                raise ConfigError(f"calib_cfg.{key}: unknown key; {hint}")
        for key in ("method", "steps"):
            if not cfg.get(key):
                raise ConfigError(f"calib_cfg.{key} is missing; see configs/_base_/calib/")
        _check_whole(cfg, "num_images", 1)
        _check_whole(cfg, "batch_size", 1)
        _check_whole(cfg, "seed", 0)
        _check_whole(cfg, "check_images", 0)
        units = _check_names(cfg.get("units", ()))
        for key in ("baseline", "eval_float"):
            check_bool(cfg.get(key, True), f"calib_cfg.{key}")
        _check_budget(cfg.get("cache_gb", 0))
        if not isinstance(cfg["method"], str):
            raise ConfigError(f"calib_cfg.method = {cfg['method']!r}: must be a string")
        if not isinstance(cfg["steps"], list | tuple):
            raise ConfigError(f"calib_cfg.steps = {cfg['steps']!r}: must be a list of dicts")
        steps = tuple(
            build(STEPS, step, f"calib_cfg.steps[{i}]") for i, step in enumerate(cfg["steps"])
        )
        _check_order(steps)
        return cls(**{**cfg, "steps": steps, "units": units})


def _check_order(steps: Sequence[Step]) -> None:
    for i, step in enumerate(steps):
        if step.changes_activations and not any(later.sets_ranges for later in steps[i + 1 :]):
            raise ConfigError(
                f"calib_cfg.steps[{i}]: {type(step).__name__} changes the activations, so that no "
                "range fits them any more; put RangeCalibration behind it"
            )
        for j, earlier in enumerate(steps[:i]):
            late = step.needs_float_weights or step.sets_ranges
            if late and earlier.replaces_weights:
                raise ConfigError(
                    f"calib_cfg.steps[{i}]: {type(step).__name__} starts from the float weights, "
                    f"which {type(earlier).__name__} (steps[{j}]) has rounded by then; put it in "
                    "front of that step, or leave one of them out"
                )


def _check_whole(cfg: Mapping[str, Any], key: str, least: int) -> None:
    value = cfg.get(key, least)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"calib_cfg.{key} = {value!r}: must be a whole number of {least} or more")


def _check_names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"calib_cfg.units = {value!r}: must be a list of name patterns")
    return tuple(value)


def _check_budget(value: Any) -> None:
    # `not >=` also catches NaN.
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigError(f"calib_cfg.cache_gb = {value!r}: must be a number of 0 or more")
