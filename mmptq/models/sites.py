"""Activation quantizers: which tensors each of them quantizes, and which calls read through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmptq.models.specs import TensorSpec

Act = tuple[TensorSpec, int | None]  # how a tensor is quantized, and how many channels have a step


@dataclass(frozen=True)
class SitePlan:
    """One activation quantizer.

    Args:
        name: ``<owner>:<call>``, the first layer and call that reads through it.
        owner: The layer in whose state dict it is.
        spec: How the tensor is quantized.
        watch: ``(layer, call)`` pairs at which each tensor of the site is read for the first time;
            whoever observes there sees every tensor once.
        channels: Each has a step of its own; ``None``: one step for the tensor.
    """

    name: str
    owner: str
    spec: TensorSpec
    watch: tuple[tuple[str, int], ...]
    channels: int | None = None


def assign_sites(
    calls: Mapping[str, Sequence[int | None]], acts: Mapping[str, Act | None], per_call: bool
) -> tuple[dict[str, tuple[str | None, ...]], tuple[SitePlan, ...]]:
    """One site for each (tensor, act); without ``per_call`` one for all calls of a layer.

    Args:
        calls: For each layer, an id of the tensor that each of its calls reads; ``None``: it reads
            it as it is.
        acts: The input's spec of each layer, and the number of its steps.
        per_call: Whether the calls of a layer keep quantizers of their own.

    Returns:
        The site names that each layer's calls read through, and the sites.
    """
    groups = _Groups()
    for name, tensors in calls.items():
        act = acts[name]
        if act is not None and not per_call:
            read = [tensor for tensor in tensors if tensor is not None]
            for other in read[1:]:
                groups.join((read[0], act), (other, act))
    # group -> tensor -> its first reader
    watch: dict[Any, dict[int, tuple[str, int]]] = {}
    names: dict[Any, str] = {}
    readers: dict[str, tuple[str | None, ...]] = {}
    for name, tensors in calls.items():
        act = acts[name]
        if act is None:
            readers[name] = (None,)
            continue
        reads: list[str | None] = []
        for call, tensor in enumerate(tensors):
            if tensor is None:
                reads.append(None)
                continue
            group = groups.find((tensor, act))
            reads.append(names.setdefault(group, f"{name}:{call}"))
            watch.setdefault(group, {}).setdefault(tensor, (name, call))
        readers[name] = (reads[0],) if len(set(reads)) == 1 else tuple(reads)
    sites = tuple(
        SitePlan(name, name.rpartition(":")[0], spec, tuple(watch[group].values()), channels)
        for group, name in names.items()
        for spec, channels in (group[1],)
    )
    return readers, sites


class _Groups:
    """Disjoint sets."""

    def __init__(self) -> None:
        self._parent: dict[Any, Any] = {}

    def find(self, item: Any) -> Any:
        while self._parent.get(item, item) != item:
            item = self._parent[item]
        return item

    def join(self, a: Any, b: Any) -> None:
        self._parent[self.find(b)] = self.find(a)
