"""The families of the conformance test: stock configs of MMDetection, made small."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mmdet
import yaml
from mmengine.config import Config

FOLDER = Path(__file__).parent
# Not by mmengine's `mmdet::`, which knows no folder gn+ws.
STOCK_CONFIGS = Path(mmdet.__file__).parent / ".mim/configs"
FILES = ("single_stage", "two_stage", "transformers", "backbones")
RECIPES = (
    "plan",
    "mmse_w8a8",
    "reload",
    "export",
    "task_loss",
    "gptq",
    "adaround",
    "bitshrink",
    "lapq",
)


@dataclass(frozen=True)
class Family:
    """An entry of the YAML files; ``single_stage.yaml`` documents them.

    Args:
        name: Key of the entry.
        config: A stock config, ``mmdet::folder/file.py``.
        changes: Values by dotted key, those of ``narrow`` included.
        first: How many items of a list are kept, by dotted key.
        gain: Factors of the float weights, by patterns of module names.
        quick: Whether it belongs to the quick subset.
        refused: Texts of the refusals that are right, by recipe.
        in_float: Kinds of multiply-adds that stay in float, as the plan names them.
        graph: The most of it that becomes a graph, see :func:`tests.conformance.graphs.most`.
    """

    name: str
    config: str
    changes: Mapping[str, Any]
    first: Mapping[str, int] = field(default_factory=dict)
    gain: Mapping[str, float] = field(default_factory=dict)
    quick: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    in_float: Sequence[str] = ()
    graph: str = "detector"

    def load(self) -> Config:
        """The narrow config, without data and without weights to fetch."""
        path = STOCK_CONFIGS / self.config.removeprefix("mmdet::")
        # The formatter takes seconds for the long ones.
        cfg = Config(Config.fromfile(path)._cfg_dict, filename=path, format_python_code=False)
        for key, count in self.first.items():
            parent, _, last = key.rpartition(".")
            holder = _find(cfg._cfg_dict, parent)
            holder[last] = holder[last][:count]
        for key, value in self.changes.items():
            for path in _expand(cfg._cfg_dict, key):
                cfg.merge_from_dict({path: _in_form_of(cfg._cfg_dict, path, copy.deepcopy(value))})
        for entry in dicts(cfg.model):
            if isinstance(entry.get("init_cfg"), dict) and "checkpoint" in entry["init_cfg"]:
                entry["init_cfg"] = None
        cfg.load_from = None
        return cfg


def load_families() -> list[Family]:
    """All entries of all files.

    Raises:
        ValueError: An entry has an unknown key or recipe, or two have the same name.
    """
    shared = yaml.safe_load((FOLDER / "shared.yaml").read_text())
    families: dict[str, Family] = {}
    for file in FILES:
        for name, entry in yaml.safe_load((FOLDER / f"{file}.yaml").read_text()).items():
            if name in families:
                raise ValueError(f"{file}.yaml: there is a {name} already")
            families[name] = _parse(name, entry, shared)
    return list(families.values())


def _parse(name: str, entry: dict[str, Any], shared: Mapping[str, Any]) -> Family:
    entry = dict(entry)
    changes: dict[str, Any] = {}
    for group in entry.pop("narrow", ()):
        changes |= shared[group]
    changes |= entry.pop("changes", {})
    expect = dict(entry.pop("expect", {}))
    in_float = expect.pop("plan", {}).get("in_float", ())
    unknown = set(expect) - set(RECIPES) | set(entry) - {
        "config",
        "first",
        "gain",
        "quick",
        "graph",
    }
    if unknown:
        raise ValueError(f"{name}: unknown keys {sorted(unknown)}")
    refused = {recipe: outcome["refused"] for recipe, outcome in expect.items()}
    known = {"refused": refused, "in_float": in_float}
    return Family(name, changes=changes, **known, **entry)


def dicts(node: Any) -> Iterator[dict[str, Any]]:
    """All dicts in nested dicts and lists."""
    if isinstance(node, dict):
        yield node
        for value in list(node.values()):
            yield from dicts(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from dicts(value)


def _find(node: Any, path: str) -> Any:
    for key in path.split("."):
        node = node[int(key)] if isinstance(node, list | tuple) else node[key]
    return node


def _in_form_of(node: Any, path: str, value: Any) -> Any:
    """``value``; where a tuple stands at ``path`` a tuple, of which YAML has none."""
    try:
        old = _find(node, path)
    except (KeyError, TypeError, AttributeError):
        return value
    return tuple(value) if isinstance(old, tuple) and isinstance(value, list) else value


def _expand(node: Any, key: str) -> list[str]:
    """The keys that ``key`` stands for, each ``*`` replaced by every index of the list there."""
    before, star, after = key.partition(".*.")
    if not star:
        return [key]
    items = range(len(_find(node, before)))
    return [path for i in items for path in _expand(node, f"{before}.{i}.{after}")]
