"""Finds a model's weights in a checkpoint by comparing the names of the two.

Tools keep a state dict under different keys (``state_dict``, ``model``, ``ema``), and its names under
different prefixes (``module.``, ``_orig_mod.``, ``teacher.``). Both are the same: a checkpoint is a tree
of names, and the weights are that branch of it whose names are the model's.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mmptq.errors import CheckpointError

# Where MMDetection's own tools look; without it they take the checkpoint itself.
_HOME = "state_dict"


@dataclass(eq=False)
class WeightTree:
    """One part of a dotted name, with what stands there and what it goes on with.

    Args:
        path: The whole name; empty for the root.
        tensor: The tensor of this name.
        other: What stands there in place of a tensor.
        metadata: A module's entry in its state dict's ``_metadata`` (versions, for load hooks).
        children: Next part of the name -> subtree.
    """

    path: str = ""
    tensor: Tensor | None = None
    other: Any = None
    metadata: Any = None
    children: "dict[str, WeightTree]" = field(default_factory=dict)

    @classmethod
    def of(cls, content: Mapping[Any, Any]) -> "WeightTree":
        """The tree of nested mappings; keys that are no strings are left out."""
        root, seen = cls(), {id(content)}
        todo = [(root, content)]
        while todo:
            node, mapping = todo.pop()
            for key, value in mapping.items():
                if not isinstance(key, str):
                    continue
                child = node.at(key)
                if isinstance(value, Tensor):
                    child.tensor = value
                elif not isinstance(value, Mapping):
                    child.other = value
                # A file may hold a mapping within itself.
                elif id(value) not in seen:
                    seen.add(id(value))
                    todo.append((child, value))
            metadata = getattr(mapping, "_metadata", None)
            for key, value in metadata.items() if isinstance(metadata, Mapping) else ():
                if isinstance(key, str):
                    node.at(key).metadata = value
        return root

    def at(self, name: str) -> "WeightTree":
        """The subtree of a dotted name, made where there is none."""
        node = self
        for part in name.split(".") if name else ():
            if part not in node.children:
                node.children[part] = WeightTree(_join(node.path, part))
            node = node.children[part]
        return node

    def get(self, name: str) -> "WeightTree | None":
        """The subtree of a dotted name, ``None`` where there is none."""
        node: WeightTree | None = self
        for part in name.split("."):
            node = node and node.children.get(part)
        return node

    def walk(self) -> "Iterator[WeightTree]":
        """This node and all below it."""
        todo = [self]
        while todo:
            node = todo.pop()
            yield node
            todo.extend(node.children.values())

    def tensors(self) -> list[str]:
        """Paths of all tensors at or below this node."""
        return [node.path for node in self.walk() if node.tensor is not None]


def fitted(
    theirs: WeightTree, own: WeightTree
) -> "Iterator[tuple[str, WeightTree, WeightTree | None]]":
    """``(name, node, the model's node)`` of all of ``theirs``, named as the model names it.

    ``backbone._orig_mod.conv1`` is the model's ``backbone.conv1``: a level with one child, unknown to the
    model, below which its names go on, is a wrapper's. What the model lacks keeps its name.
    """
    todo: list[tuple[str, WeightTree, WeightTree | None]] = [("", theirs, own)]
    while todo:
        name, node, mine = todo.pop()
        yield name, node, mine
        for part, child in node.children.items():
            own_child = mine.children.get(part) if mine else None
            inner = _unwrapped(child, own_child) if own_child else child
            todo.append((_join(name, part), inner, own_child))


def _unwrapped(theirs: WeightTree, own: WeightTree) -> WeightTree:
    inner = theirs
    while len(inner.children) == 1 and inner.tensor is None and not _share_names(inner, own):
        inner = next(iter(inner.children.values()))
    return inner if _share_names(inner, own) else theirs


def _share_names(a: WeightTree, b: WeightTree) -> bool:
    return not a.children.keys().isdisjoint(b.children)


def find_branch(tree: WeightTree, own: WeightTree, key: str | None) -> WeightTree:
    """The branch of a checkpoint that holds most of a model's tensors.

    Where several hold as many, that at MMDetection's own place is taken: MMEngine's averaged weights are
    there too. Where none holds any, the model's load hooks may know its names.

    Args:
        tree: The checkpoint's.
        own: The model's.
        key: Path at or below which to look; ``None`` for everywhere.

    Raises:
        CheckpointError: ``key`` is not there, or several branches fit equally well.
    """
    start = tree if key is None else tree.get(str(key))
    if start is None:
        known = [name for name, child in tree.children.items() if child.tensors()]
        raise CheckpointError(
            f"it holds nothing under --checkpoint-key (checkpoint_key) {key!r}; its tensors are "
            f"under {_first(known)}"
        )
    home = start.children.get(_HOME, start)
    fits = {node: _fit(node, own) for node in start.walk() if _share_names(node, own)}
    most = max(fits.values(), default=0)
    best = _nearest(home, [node for node, count in fits.items() if count == most > 0])
    if len(best) > 1:
        raise CheckpointError(
            f"{len(best)} sets of its weights fit the model equally well, under "
            f"{_first([node.path for node in best])}; choose one by --checkpoint-key "
            "(checkpoint_key)"
        )
    return best[0] if best else home


def _fit(theirs: WeightTree, own: WeightTree) -> int:
    """Number of tensors that the two have in common."""
    return sum(
        node.tensor is not None and mine is not None and mine.tensor is not None
        for _, node, mine in fitted(theirs, own)
    )


def _nearest(home: WeightTree, nodes: list[WeightTree]) -> list[WeightTree]:
    """``home`` alone if it is among the nodes, else those below it, else all."""
    if home in nodes:
        return [home]
    return [node for node in nodes if node.path.startswith(f"{home.path}.")] or nodes


def state_of(branch: WeightTree, own: WeightTree, prefix: str) -> "OrderedDict[str, Tensor]":
    """A branch's tensors under a model's names, as a state dict with its modules' versions."""
    state: OrderedDict[str, Tensor] = OrderedDict()
    versions = {}
    for relative, node, _ in fitted(branch, own):
        name = _join(prefix, relative)
        if node.tensor is not None:
            state[name] = node.tensor
        if isinstance(node.metadata, Mapping):
            versions[name] = node.metadata
    state._metadata = versions  # type: ignore[attr-defined]
    return state


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name


def _first(names: list[str], count: int = 8) -> str:
    """The first names, quoted."""
    more = [f"{len(names) - count} more"] if len(names) > count else []
    return ", ".join([*(repr(name) for name in sorted(names)[:count]), *more]) or "no key"
