"""The registries. Where MMEngine has a root, ours is its child, so its configs reach our classes.

A config names a class by ``type='mmptq.ClassName'``. MMEngine imports this file when it first
meets the scope ``mmptq``, and the ``locations`` below when it first looks a class up.
"""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from mmengine import registry as root
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from mmptq.errors import ConfigError

# `mmptq::...` among a config's `_base_`: MMEngine takes names that it lists, and looks for the
# package where the distribution of that name says. Of an editable installation that is no folder;
# a module's own name leads to the folder that is imported.
MODULE2PACKAGE.setdefault("mmptq", __name__)


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope="mmptq", locations=list(locations))


def _own(name: str, *locations: str) -> Registry:
    return Registry(name, scope="mmptq", locations=list(locations))


MODELS = _child("model", root.MODELS, "mmptq.models", "mmptq.classifiers", "mmptq.recommenders")
DATASETS = _child("dataset", root.DATASETS, "mmptq.datasets")
TRANSFORMS = _child("transform", root.TRANSFORMS, "mmptq.datasets")
METRICS = _child("metric", root.METRICS, "mmptq.evaluation")
HOOKS = _child("hook", root.HOOKS, "mmptq.hooks")
RUNNERS = _child("runner", root.RUNNERS, "mmptq.runner")

OBSERVERS = _own("observer", "mmptq.observers")
QUANTIZERS = _own("quantizer", "mmptq.quantizers")
ADAPTERS = _own("adapter", "mmptq.adapters")
OBJECTIVES = _own("objective", "mmptq.engine")
STEPS = _own("step", "mmptq.algorithms")


def build(registry: Registry, cfg: Mapping[str, Any], key: str, **defaults: Any) -> Any:
    """Build an object of one of mmptq's own registries.

    ``Registry.build`` would search the registry tree of the default scope (``mmdet``) first and
    warn about it; our own registries have no such relatives. It also leaves a misspelt argument to
    a bare ``TypeError``; here the message names the config key.

    Args:
        registry: Where ``type`` is looked up.
        cfg: ``type`` and the constructor's arguments.
        key: Where in the config ``cfg`` stands, for the error message.
        defaults: Arguments that ``cfg`` does not set.

    Raises:
        ConfigError: ``cfg`` is not a mapping with ``type``, the type is unknown, or an argument is
            unknown or missing.
    """
    if not isinstance(cfg, Mapping) or "type" not in cfg:
        raise ConfigError(f"{key} must be a dict with the key 'type', got {cfg!r}")
    kwargs = {**defaults, **cfg}
    name = kwargs.pop("type")
    cls = name if inspect.isclass(name) else _lookup(registry, name, key)
    _check_arguments(cls, kwargs, key)
    return cls(**kwargs)


def nested_dicts(node: Any) -> list[Any]:
    """All dicts in nested dicts and lists of a config."""
    if isinstance(node, dict):
        return [node, *(d for value in node.values() for d in nested_dicts(value))]
    if isinstance(node, list | tuple):
        return [d for value in node for d in nested_dicts(value)]
    return []


def type_name(cfg: Any) -> str:
    """Bare name of what a config's ``type`` is: a class, its registered name or its dotted path.

    Args:
        cfg: A dict with ``type``, or such a type itself. Without one the name is empty.
    """
    kind = cfg.get("type", "") if isinstance(cfg, Mapping) else cfg
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", type(kind).__name__)
    return name.rpartition(".")[2]


def find_class(registry: Registry, kind: Any, scope: str | None = None) -> Any:
    """What ``type=kind`` means in one of MMEngine's registries; ``None`` if nothing is there.

    Args:
        registry: One of MMEngine's roots.
        kind: A class, or a name.
        scope: Where a bare name is looked up first (default: the running experiment's scope).
    """
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(scope) as found:
        try:
            return found.get(kind)
        except (ImportError, KeyError, RuntimeError):  # RuntimeError: a path that leads nowhere
            return None


def _lookup(registry: Registry, name: str, key: str) -> type:
    registry.import_from_location()
    cls = registry.get(name)
    if cls is None:
        known = sorted(registry.module_dict)
        close = difflib.get_close_matches(name.rsplit(".", 1)[-1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        raise ConfigError(f"{key}.type: no {registry.name} is called {name!r}; {hint}")
    return cls


def _check_arguments(cls: type, kwargs: dict[str, Any], key: str) -> None:
    signature = inspect.signature(cls)
    parameters = signature.parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in kwargs:
        if name not in parameters and not takes_any:
            raise ConfigError(
                f"{key}.{name}: unknown argument of {cls.__name__}; "
                f"it takes {', '.join(parameters)}"
            )
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        raise ConfigError(f"{key}: {cls.__name__}: {error}") from error
