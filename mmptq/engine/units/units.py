"""Units: the parts of a model that are reconstructed one after another."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.adapters import Adapter
from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.engine.incremental.probing import probing
from mmptq.errors import ConfigError
from mmptq.models import QuantModel
from mmptq.models.trace import differentiable, flatten_tensors

GRANULARITIES = ("block", "layer")


@dataclass(frozen=True)
class Unit:
    """A module that is reconstructed as a whole: it reads one tensor and returns one.

    It may take further arguments, such as the height and width of a feature map that it reads as
    tokens; a layer also further tensors, such as the offsets of a deformable convolution.

    Args:
        name: Module name in the detector.
        layers: Names of the quantized layers inside.
        calls: Ids of its calls in the call graph, one an FPN level for a head's layers.
        offsets: For each call, how often each layer has run before it in the same pass.
        relu: Whether its output is read through ReLUs only; then it is compared behind them.
        sites: Activation quantizers that the unit is the first to read through.
        channels: Of its input, where it makes a map of a map and nothing else, as far as was seen.
    """

    name: str
    layers: tuple[str, ...]
    calls: tuple[int, ...]
    offsets: tuple[Mapping[str, int], ...]
    relu: bool
    sites: tuple[str, ...]
    channels: int | None = None


def find_units(
    model: QuantModel,
    adapter: Adapter,
    graph: CallGraph,
    granularity: str,
    with_labels: bool = False,
) -> list[Unit]:
    """The units that cover every quantized layer, in the order of first execution.

    Args:
        model: Prepared.
        adapter: Names the module that each layer belongs to.
        graph: Of the same model.
        granularity: ``'block'`` (residual blocks whole) or ``'layer'``.
        with_labels: Whether ``graph`` is of the training loss.

    Raises:
        ConfigError: Unknown granularity.
    """
    if granularity not in GRANULARITIES:
        raise ConfigError(f"granularity = {granularity!r}: must be one of {GRANULARITIES}")
    assert model.plan is not None
    plan = [p for p in model.plan.layers if p.weight is not None or p.inputs != (None,)]
    # What reads the output of a layer is a part of it.
    hosts = {p.name: p.host for p in plan}
    owner = {name: adapter.unit_of(host, granularity) for name, host in hosts.items()}
    forms = _forms(model, adapter, {*owner.values(), *hosts.values()}, with_labels)
    # A module of another form is taken apart into its layers.
    owner = {name: unit if forms[unit].single else hosts[name] for name, unit in owner.items()}
    members: dict[str, list[str]] = {}
    for name in hosts:
        members.setdefault(owner[name], []).append(name)
    return [
        Unit(
            name,
            tuple(layers),
            tuple(graph.by_module[name]),
            _offsets(graph, name, layers),
            forms[name].relu,
            tuple(s.name for s in model.plan.sites if s.owner in layers),
            forms[name].channels,
        )
        for name, layers in members.items()
    ]


def _offsets(graph: CallGraph, name: str, layers: list[str]) -> tuple[Mapping[str, int], ...]:
    counts: Counter[str] = Counter()
    found = []
    for call in graph.calls:  # in the order in which they begin
        if call.module == name:
            found.append({layer: counts[layer] for layer in layers})
        counts[call.module] += 1
    return tuple(found)


@dataclass
class _Form:
    """How a module was seen to be called."""

    single: bool = True
    relu: bool = False
    maps: bool = True
    channels: int | None = None


def _forms(
    model: QuantModel, adapter: Adapter, names: set[str], with_labels: bool
) -> dict[str, _Form]:
    """Whether each module reads and returns one tensor, and whether only ReLUs read that."""
    forms = {name: _Form() for name in names}
    written: dict[str, list[Any]] = {name: [] for name in names}

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            one = bool(args) and isinstance(args[0], Tensor) and isinstance(output, Tensor)
            forms[name].single &= one and _plain((args[1:], tuple(kwargs.values())))
            alone = one and len(args) == 1 and not kwargs
            forms[name].maps &= alone and args[0].dim() == 4 and output.dim() == 4
            forms[name].channels = args[0].shape[1] if forms[name].maps else None
            written[name].extend(t.grad_fn for t in flatten_tensors(output))

        return hook

    with ExitStack() as stack, torch.enable_grad():
        forward, image = stack.enter_context(probing(model, adapter, with_labels))
        for name in names:
            module = adapter.model.get_submodule(name)
            handle = module.register_forward_hook(watch(name), with_kwargs=True)
            stack.callback(handle.remove)
        outputs = forward(stack.enter_context(differentiable(model, image)))
        readers = _readers(outputs)
    for name, nodes in written.items():
        found = [readers.get(node, set()) for node in nodes]
        forms[name].relu = bool(found) and all(kinds == {"ReluBackward0"} for kinds in found)
    return forms


def _plain(value: Any) -> bool:
    """Whether a value can be kept and compared: numbers, strings and tuples of them."""
    if isinstance(value, tuple):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _readers(outputs: Any) -> dict[Any, set[str]]:
    """Names of the autograd nodes that read each node's output; ``'output'`` for the model's."""
    todo = [t.grad_fn for t in flatten_tensors(outputs) if t.grad_fn is not None]
    readers: dict[Any, set[str]] = {node: {"output"} for node in todo}
    while todo:
        node = todo.pop()
        for parent, _ in node.next_functions:
            if parent is not None:
                if parent not in readers:
                    readers[parent] = set()
                    todo.append(parent)
                readers[parent].add(node.name())
    return readers
