"""Turns what a user has (any config of a model of a known kind) into what the runner runs."""

import copy
import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from mmcv import ops
from mmdet.models.detectors import BaseDetector
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from mmengine.utils import get_object_from_string

from mmptq.errors import ConfigError
from mmptq.recommenders import Recommender
from mmptq.registry import HOOKS, build, find_class, nested_dicts, type_name

# Wrapper of a family -> the key that names the float model's class.
WRAPPERS = {
    "QuantDetector": "detector_type",
    "QuantClassifier": "classifier_type",
    "QuantRecommender": "recommender_type",
}

# The recipe of a config that names none, by what docs/results.md shows: GPTQ behind MMSE is what
# stays near the float model at 8 bits and below, without labels or iterations.
DEFAULT_CALIB: dict[str, Any] = {
    "method": "gptq",
    "steps": [
        {
            "type": "RangeCalibration",
            "weight": {"type": "LpNormObserver", "p": 2.0},
            "act": {"type": "LpNormObserver", "p": 2.0},
        },
        {"type": "GPTQ"},
    ],
}

DEFAULT_HOOKS: dict[str, dict[str, Any]] = {
    "progress": {"type": "mmptq.CalibrationProgressHook"},
    "logging": {"type": "mmptq.CalibrationLoggingHook"},
    "pictures": {"type": "mmptq.DetectionPictureHook"},
    "save": {"type": "mmptq.SaveQuantizedHook"},
    "report": {"type": "mmptq.ReportHook"},
}


def name_types(cfg: Config) -> None:
    """Write every ``type`` of ``cfg`` that is a class, as in a pure-Python config, as its name.

    It is the form of a text config, which all else then deals with, and the form in which MMEngine
    dumps a config. A class that no name leads to stays.

    What MMEngine marks as ``mmptq``'s, since it is inherited by ``mmptq::``, loses the mark: the
    types in mmptq's configs are MMDetection's where they do not say otherwise.
    """
    for entry in nested_dicts(cfg._cfg_dict):
        if entry.get("_scope_") == "mmptq":
            del entry["_scope_"]
        for key in ("type", *WRAPPERS.values()):
            if callable(entry.get(key)):
                entry[key] = _name_of(entry[key])


def _name_of(kind: Any) -> Any:
    name = getattr(kind, "__qualname__", "")
    # mmcv looks the function of a non-maximum suppression up among its operators, by bare name.
    if getattr(ops, name, None) is kind and not inspect.isclass(kind):
        return name
    # A path may lead astray where a package has a function of its module's name
    # (mmdet.models.losses.smooth_l1_loss); the packages above mostly have the class as well.
    parts = kind.__module__.split(".")
    paths = (".".join([*parts[:depth], name]) for depth in range(len(parts), 0, -1))
    return next((path for path in paths if get_object_from_string(path) is kind), kind)


def wrap_model(cfg: Config) -> None:
    """Make ``cfg.model`` a quantizable one, if it is a plain float model."""
    model = cfg.model
    if type_name(model) not in WRAPPERS:
        wrapper = _wrapper_of(cfg)
        model[WRAPPERS[wrapper]], model["type"] = model["type"], f"mmptq.{wrapper}"


def _wrapper_of(cfg: Config) -> str:
    """The wrapper of ``cfg.model``'s kind; an unknown type is left to fail as a detector."""
    cls = find_class(MODELS, cfg.model["type"], cfg.get("default_scope") or "mmdet")
    if not inspect.isclass(cls) or issubclass(cls, BaseDetector):
        return "QuantDetector"
    return "QuantRecommender" if issubclass(cls, Recommender) else "QuantClassifier"


def set_data_root(cfg: Config, data_root: str) -> None:
    """Use ``data_root`` wherever the config's datasets and evaluators name their own.

    Datasets have ``data_root``; evaluators hold whole annotation paths that begin with it, and so
    may ``load_from``.
    """
    found = (d.get("data_root") for d in nested_dicts(cfg._cfg_dict))
    old_roots = {root.rstrip("/") + "/" for root in found if root}
    new_root = data_root.rstrip("/") + "/"

    def replaced(value: str) -> str:
        for root in sorted(old_roots, key=len, reverse=True):
            if f"{value}/".startswith(root):
                return new_root + value[len(root) :]
        return value

    for entry in nested_dicts(cfg._cfg_dict):
        for key, value in entry.items():
            if isinstance(value, str) and key in ("data_root", "ann_file", "load_from"):
                entry[key] = replaced(value)


# What nothing can be measured without, and how to give what is missing.
_NEEDED = {
    "model": "this is no config of MMDetection or MMEngine",
    "test_dataloader": "the accuracy is measured on it",
    "test_evaluator": "the accuracy is measured by it",
}


def check_measurable(cfg: Config, **hints: str) -> None:
    """Make sure that ``cfg`` has what a measurement needs.

    Args:
        cfg: The config.
        hints: Further keys that it must have, and how to give them.

    Raises:
        ConfigError: One is missing (tells how to give it).
    """
    for key, hint in {**_NEEDED, **hints}.items():
        if cfg.get(key) is None:
            raise ConfigError(f"the config lacks {key!r}: {hint}")


def complete_config(cfg: Config) -> None:
    """Wrap the model, fill in the default recipe, check that nothing else is missing.

    Raises:
        ConfigError: One is missing (tells how to give it).
    """
    check_measurable(cfg, qconfig="inherit configs/_base_/quant/*.py, or give one by --qconfig")
    name_types(cfg)
    wrap_model(cfg)
    complete_recipe(cfg)


def complete_recipe(cfg: Config) -> None:
    """Give a partial ``calib_cfg`` what it lacks.

    Without method and steps it is the default recipe; steps of one's own are called by their types.
    A method alone stays half a recipe: under its name the default steps would be another one's.
    """
    given = cfg.get("calib_cfg")
    if given is None:
        cfg.calib_cfg = given = {}
    if not isinstance(given, Mapping):
        return
    if not {"method", "steps"} & set(given):
        cfg.calib_cfg = {**_default_recipe(cfg.get("qconfig")), **given}
    elif "method" not in given and isinstance(given["steps"], list | tuple):
        cfg.calib_cfg = {**given, "method": "+".join(type_name(step) for step in given["steps"])}


def _default_recipe(qconfig: Any) -> dict[str, Any]:
    """A new one; without GPTQ where no weight is quantized."""
    recipe = copy.deepcopy(DEFAULT_CALIB)
    if isinstance(qconfig, Mapping) and qconfig.get("weight", {}) is None:
        return {"method": "mmse", "steps": recipe["steps"][:1]}
    return recipe


def save_packed(cfg: Config) -> None:
    """Let the checkpoint be saved packed.

    Raises:
        ConfigError: The config saves none.
    """
    hooks = dict(cfg.get("calib_hooks") or {})
    if hooks.get("save", {}) is None:
        raise ConfigError("--packed: calib_hooks.save = None, so that no checkpoint is saved")
    cfg.calib_hooks = {**hooks, "save": {**hooks.get("save", {}), "packed": True}}


def calibration_hooks(cfg: Config) -> list[tuple[Hook, str | int | None]]:
    """The default hooks with the changes of ``calib_hooks`` (an entry of ``None`` removes one).

    Returns:
        Hooks and their priorities, ``None`` for the hook's own.

    Raises:
        ConfigError: An entry names no default hook and no ``type``, or has unknown arguments.
    """
    hooks: dict[str, Any] = copy.deepcopy(DEFAULT_HOOKS)
    for name, change in (cfg.get("calib_hooks") or {}).items():
        if name not in hooks and not (change and "type" in change):
            close = difflib.get_close_matches(name, hooks, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"defaults: {', '.join(hooks)}"
            raise ConfigError(f"calib_hooks.{name}: no default hook, and no type is given; {hint}")
        hooks[name] = change and {**hooks.get(name, {}), **change}
    built = []
    for name, hook in hooks.items():
        if hook:
            priority = hook.pop("priority", None)
            built.append((build(HOOKS, hook, f"calib_hooks.{name}"), priority))
    return built
