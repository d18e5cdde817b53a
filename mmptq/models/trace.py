"""One eager forward pass that shows how a model's layers hang together.

No graph is captured (fx and dynamo break on detectors). Layers are matched through the tensors
they exchange: a tensor is known by its storage, view and in-place version.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmptq.models.chains import Chain, find_chains
from mmptq.models.links import Link, ReadCounter, find_links
from mmptq.modules import Operand, QuantOperand, behind_norm, evaluating

TensorKey = tuple[Any, ...]

# What autograd calls the functions whose outputs have forms of their own, and a layer's role.
SOURCES = {"SoftmaxBackward0": "softmax", "GeluBackward0": "gelu"}


@dataclass
class Trace:
    """What one forward pass showed. Names are of the traced module's ``named_modules``.

    Args:
        calls: For each layer, in the order of first execution: an id of the tensor that each of its
            calls read. Equal ids mean the same tensor.
        first: Layers that read the image.
        last: Layers whose output reaches the model's output through no other layer; where the model
            returns nothing, those whose output no other layer reads.
        batch_norms: ``(layer, batch norm)`` where the norm, in every call, reads just what the
            layer wrote, and nothing else reads it.
        links: Pairs of layers between which a factor per channel can move.
        chains: What reads the output of each call of a layer.
        sources: Layers that in every call read just what one of :data:`SOURCES` gave, and its role.
    """

    calls: dict[str, list[int]] = field(default_factory=dict)
    first: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)
    batch_norms: list[tuple[str, str]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


class _Recorder:
    def __init__(self, image: Tensor) -> None:
        self.image = image
        self.alive: list[Tensor] = []  # keeps storages from being reused for later tensors
        self.ids: dict[TensorKey, int] = {}
        self.reads: dict[str, list[int]] = defaultdict(list)
        self.writes: dict[str, list[int]] = defaultdict(list)
        self.norm_reads: dict[str, list[int]] = defaultdict(list)
        self.first: set[str] = set()
        self.read_nodes: dict[str, list[Any]] = defaultdict(list)
        self.nodes: dict[Any, str] = {}  # autograd node of a layer's output -> layer
        self.read: set[str] = set()  # layers whose output another one reads

    def tensor_id(self, x: Tensor) -> int:
        key = (
            x.untyped_storage().data_ptr(),
            x.storage_offset(),
            tuple(x.shape),
            x.stride(),
            x._version,
        )
        self.alive.append(x)
        return self.ids.setdefault(key, len(self.ids))

    def on_layer(self, name: str) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor | None:
            if self.reads_image(args[0]):
                self.first.add(name)
            self.read |= behind([args, kwargs], self.nodes)
            self.reads[name].append(self.tensor_id(args[0]))
            self.read_nodes[name].append(args[0].grad_fn)
            if isinstance(module, Operand | QuantOperand):  # which writes what it reads
                self.nodes[output.grad_fn] = name
                return None
            output = standing_alone(output)
            self.writes[name].append(self.tensor_id(output))
            if output.grad_fn is not None:
                self.nodes[output.grad_fn] = name
            return output

        return hook

    def reads_image(self, x: Tensor) -> bool:
        """Whether ``x`` is the image, perhaps padded or scaled, but not behind a layer."""
        if x.grad_fn is None:
            return x is self.image
        return not behind([x], self.nodes)

    def on_norm(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            # A view of the whole of a layer's output looks the same, but others may read it, too.
            node = args[0].grad_fn
            viewed = node is not None and self.nodes.get(node) not in self.writes
            self.norm_reads[name].append(-1 if viewed else self.tensor_id(args[0]))

        return hook


@contextmanager
def _recording(model: nn.Module, layers: list[str], image: Tensor) -> Iterator[_Recorder]:
    recorder, handles = _Recorder(image), []
    for name, module in model.named_modules():
        if name in layers:
            hook = recorder.on_layer(name)
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
        elif isinstance(module, _BatchNorm) and behind_norm(module) is not None:
            handles.append(module.register_forward_pre_hook(recorder.on_norm(name)))
    try:
        yield recorder
    finally:
        for handle in handles:
            handle.remove()


def trace(
    model: nn.Module, layers: list[str], forward: Callable[[Tensor], Any], image: Tensor
) -> Trace:
    """Run ``forward(image)`` and record how ``layers`` of ``model`` exchange tensors.

    Args:
        model: Run in eval mode; its parameters and its modules' modes are left as they are.
        layers: Names of the layers to watch.
        forward: Runs the model and returns its raw outputs (tensors in nested tuples and lists), or
            ``None``.
        image: ``(N, C, H, W)`` float; a small one suffices.
    """
    counter = ReadCounter()
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.enable_grad())
        image = stack.enter_context(differentiable(model, image))
        recorder = stack.enter_context(_recording(model, layers, image))
        stack.enter_context(counter)
        outputs = forward(image)
    if outputs is None:
        last = set(recorder.reads) - recorder.read
        ends = [node for node, name in recorder.nodes.items() if name in last]
    else:
        last = behind(outputs, recorder.nodes)
        ends = [t.grad_fn for t in flatten_tensors(outputs) if t.grad_fn is not None]
    children = children_of(ends)
    readers = Counter({node: len(found) for node, found in children.items()})
    batch_norms = _match_norms(recorder, readers)
    counter.add(readers)
    norms = dict(batch_norms)
    return Trace(
        calls=dict(recorder.reads),
        first=recorder.first,
        last=last,
        batch_norms=batch_norms,
        links=find_links(model, recorder.read_nodes, recorder.nodes, counter, norms),
        chains=find_chains(recorder.read_nodes, recorder.nodes, counter.counts, children, norms),
        sources=_find_sources(recorder.read_nodes),
    )


def _find_sources(read_nodes: dict[str, list[Any]]) -> dict[str, str]:
    found = {}
    for name, nodes in read_nodes.items():
        kinds = {None if node is None else SOURCES.get(node.name()) for node in nodes}
        if len(kinds) == 1 and (kind := kinds.pop()) is not None:
            found[name] = kind
    return found


@contextmanager
def differentiable(model: nn.Module, image: Tensor) -> Iterator[Tensor]:
    """A copy of ``image`` from which every output has a gradient, though parameters be frozen.

    Whole numbers (of users and items) have none: there the gradient is asked of all parameters, for
    as long as the context lasts.
    """
    image = image.detach().clone()
    if image.is_floating_point():
        yield image.requires_grad_()
        return
    frozen = [p for p in model.parameters() if p.is_floating_point() and not p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_()
    try:
        yield image
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _match_norms(recorder: _Recorder, readers: Counter[Any]) -> list[tuple[str, str]]:
    writer = {tuple(ids): name for name, ids in recorder.writes.items()}
    read_twice = {name for node, name in recorder.nodes.items() if readers[node] > 1}
    # Equality of the whole call lists: a layer shared by several norms matches none of them.
    pairs = ((writer.get(tuple(ids)), norm) for norm, ids in recorder.norm_reads.items())
    return [(layer, norm) for layer, norm in pairs if layer and layer not in read_twice]


def children_of(ends: list[Any]) -> dict[Any, list[Any]]:
    """The operations that read the output of each of the autograd nodes behind ``ends``.

    An end is read once more, as an output of the model: by ``None``.
    """
    children: dict[Any, list[Any]] = defaultdict(list)
    for node in ends:
        children[node].append(None)
    todo = list(children)
    while todo:
        node = todo.pop()
        for parent, _ in node.next_functions:
            if parent is not None and parent not in children:
                todo.append(parent)
            children[parent].append(node)
    return children


def standing_alone(output: Tensor) -> Tensor:
    """``output``, or a copy where it is a view: one that is written to gets another node."""
    return output.clone() if output._is_view() else output


def behind(outputs: Any, nodes: dict[Any, str]) -> set[str]:
    """Layers from which ``outputs`` are computed through no other layer (an autograd walk)."""
    last: set[str] = set()
    seen: set[Any] = set()
    todo = [t.grad_fn for t in flatten_tensors(outputs)]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in nodes:
            last.add(nodes[node])
        else:
            todo.extend(parent for parent, _ in node.next_functions)
    return last


def flatten_tensors(outputs: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        for value in outputs.values():
            yield from flatten_tensors(value)
    elif isinstance(outputs, tuple | list):
        for value in outputs:
            yield from flatten_tensors(value)
