"""Which module calls of a forward pass depend on which layers.

One small forward pass with gradients on shows it, for any topology and without capturing a graph:
every module call is known by the autograd nodes of its outputs, and the calls behind a tensor are
found by walking back from its node.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.engine.incremental.dependencies import HiddenReads
from mmptq.models.trace import differentiable, flatten_tensors, standing_alone
from mmptq.modules import QuantLayer, QuantOperand

Forward = Callable[..., Any]
Node = int  # position of an autograd node in CallGraph.parents


@dataclass
class Call:
    """One call of a module in the forward pass.

    Args:
        module: Name in the model's ``named_modules``.
        parent: Id of the call inside which it happens, ``None`` at the top.
        storable: Whether its output may be kept in place of computing it: nested tuples, lists and
            dicts of floating tensors that are no views of its input.
        depth: Number of calls around it.
        nodes: Autograd nodes of its output tensors.
        upstream: Bit set of the layer calls on which its outputs depend.
        mutated: Of each output tensor, whether somebody writes to it afterwards.
        inner: How often it calls each other module, at any depth.
    """

    module: str
    parent: int | None
    depth: int
    storable: bool = False
    nodes: tuple[Node, ...] = ()
    upstream: int = 0
    mutated: tuple[bool, ...] = ()
    inner: Counter[str] = field(default_factory=Counter)


class CallGraph:
    """Module calls of one forward pass, their nesting and their dependencies.

    Attributes:
        calls: In the order in which they begin; a call's id is its position.
        by_module: Ids of each module's calls.
        layer_calls: Bit of each call of a quantized layer, by its name and how often it ran before.
        outputs: Autograd nodes of the model's outputs.
        parents: For each node, the nodes that it reads; they have smaller numbers.
        calls_at: For each node, ids of the calls that return it, the outermost first.

    Args:
        model: In eval mode. Gradients are enabled during the pass, parameters left as they are.
        forward: Runs the model on an image and returns nested tensors.
        image: ``(1, C, H, W)``; a small one suffices.
        watched: Modules whose own calls somebody listens to: what they are called by is never
            replaced by a kept output.
    """

    def __init__(
        self, model: nn.Module, forward: Forward, image: Tensor, watched: Iterable[str] = ()
    ) -> None:
        recorder = _Recorder(model)
        asked = differentiable(model, image)
        with torch.enable_grad(), asked as image, recorder.hidden, recorder.recording():
            outputs = forward(image)
        self.calls = recorder.calls
        self._keep_open(frozenset(watched))
        self.by_module: dict[str, list[int]] = defaultdict(list)
        self.layer_calls: dict[tuple[str, int], int] = {}
        for i, call in enumerate(self.calls):
            if call.module in recorder.layers:
                key = call.module, len(self.by_module[call.module])
                self.layer_calls[key] = len(self.layer_calls)
                recorder.bits[i] = 1 << self.layer_calls[key]
            self.by_module[call.module].append(i)
        self._index_nodes(recorder, outputs)

    def bits(self, layers: Iterable[str]) -> int:
        """Bit set of all calls of the layers of these names."""
        names = set(layers)
        return self.call_bits(key for key in self.layer_calls if key[0] in names)

    def call_bits(self, layer_calls: Iterable[tuple[str, int]]) -> int:
        """Bit set of single calls of layers: each by the layer and how often it ran before."""
        return sum(1 << self.layer_calls[key] for key in set(layer_calls))

    def cut(self, changed: int) -> set[int]:
        """Ids of the outermost calls that do not depend on ``changed`` but are read behind it.

        While only these layer calls change, a pass needs no other output of what does not change.
        """
        found: set[int] = set()

        def follow(node: Node) -> Iterable[Node]:
            for i in self.calls_at[node]:
                call = self.calls[i]
                if call.storable and not call.upstream & changed:
                    found.add(i)
                    return ()
            return self.parents[node]

        self.walk(follow)
        return found

    def resolve(self, kept: set[int], wanted: set[int]) -> tuple[set[int], set[int]]:
        """What a pass does.

        Args:
            kept: Ids of the calls whose outputs are kept.
            wanted: Of those whose outputs are to be kept: where one runs, all of its outputs are
                needed, not only those that the model's output needs.

        Returns:
            Calls whose kept output is used, and calls that must run. The outputs of all others
            reach nothing but these others.
        """
        hits: set[int] = set()
        runs: set[int] = set()

        def follow(node: Node) -> Iterable[Node]:
            hit = next((i for i in self.calls_at[node] if i in kept), None)
            if hit is not None:
                hits.add(hit)
                return ()
            runs.update(self.calls_at[node])
            beside = [n for i in self.calls_at[node] if i in wanted for n in self.calls[i].nodes]
            return [*self.parents[node], *beside]

        self.walk(follow)
        for i in [*hits, *runs]:
            parent = self.calls[i].parent
            while parent is not None and parent not in hits:
                runs.add(parent)
                parent = self.calls[parent].parent
        return hits, runs - hits

    def walk(
        self, follow: Callable[[Node], Iterable[Node]], start: Iterable[Node] | None = None
    ) -> None:
        """Visit nodes once each: ``start`` (the model's outputs), then what ``follow`` gives."""
        todo = list(self.outputs if start is None else start)
        seen = set(todo)
        while todo:
            for node in follow(todo.pop()):
                if node not in seen:
                    seen.add(node)
                    todo.append(node)

    def _keep_open(self, watched: frozenset[str]) -> None:
        for call in self.calls:
            parent = call.parent if call.module in watched else None
            while parent is not None:
                self.calls[parent].storable = False
                parent = self.calls[parent].parent

    def _index_nodes(self, recorder: "_Recorder", outputs: Any) -> None:
        """Number the autograd nodes and find the layers behind each."""
        roots = [t.grad_fn for t in flatten_tensors(outputs) if t.grad_fn is not None]
        hidden = recorder.hidden.found
        numbers, order = _topological_order(roots, hidden)
        self.parents = [[numbers[p] for p in _parents(node, hidden)] for node in order]
        self.outputs = sorted({numbers[node] for node in roots})
        self.calls_at: list[list[int]] = [[] for _ in order]
        layer_bits = [0] * len(order)
        for i, (call, tensors) in enumerate(zip(self.calls, recorder.outputs, strict=True)):
            nodes = [numbers.get(grad_fn) for grad_fn, _, _ in tensors]
            # An output that nobody reads further on has a node that the walk did not meet.
            call.nodes = tuple(n for n in nodes if n is not None)
            # What leads to no output of a layer (a term of a loss) is computed in every pass.
            call.storable &= bool(call.nodes)
            call.mutated = tuple(t._version != version for _, t, version in tensors)
            for node in set(call.nodes):
                self.calls_at[node].append(i)
                layer_bits[node] |= recorder.bits.get(i, 0)
        upstream: list[int] = []
        for node, parents in enumerate(self.parents):  # parents come first
            mask = layer_bits[node]
            for parent in parents:
                mask |= upstream[parent]
            upstream.append(mask)
        for call in self.calls:
            for node in call.nodes:
                call.upstream |= upstream[node]
        for ids in self.calls_at:
            ids.sort(key=lambda i: self.calls[i].depth)


def _parents(node: Any, hidden: Mapping[Any, set[Any]]) -> list[Any]:
    """The nodes that an autograd node reads."""
    return [*(p for p, _ in node.next_functions if p is not None), *hidden.get(node, ())]


def _topological_order(
    roots: list[Any], hidden: Mapping[Any, set[Any]]
) -> tuple[dict[Any, Node], list[Any]]:
    """Autograd nodes behind ``roots``, each after the nodes that it reads."""
    numbers: dict[Any, Node] = {}
    order: list[Any] = []
    entered: set[Any] = set()
    todo = [(node, False) for node in roots]
    while todo:
        node, done = todo.pop()
        if done:
            numbers[node] = len(order)
            order.append(node)
        elif node not in entered:
            entered.add(node)
            todo.append((node, True))
            todo.extend((p, False) for p in _parents(node, hidden) if p not in entered)
    return numbers, order


@contextmanager
def replaced_forwards(
    modules: Iterable[tuple[str, nn.Module]], wrap: Callable[[str, nn.Module, Forward], Forward]
) -> Iterator[None]:
    """Replace ``module.forward`` by ``wrap(name, module, forward)`` for a while."""
    replaced: list[tuple[nn.Module, Any]] = []
    try:
        for name, module in modules:
            replaced.append((module, module.__dict__.get("forward")))
            module.__dict__["forward"] = wrap(name, module, module.forward)
        yield
    finally:
        for module, own in replaced:
            del module.__dict__["forward"]
            if own is not None:
                module.__dict__["forward"] = own


class _Recorder:
    """Writes down every module call of a pass."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = [(name, module) for name, module in model.named_modules() if name]
        self.layers = {name for name, module in self.modules if isinstance(module, QuantLayer)}
        self.bits: dict[int, int] = {}  # of the calls of layers
        self.calls: list[Call] = []
        # Of each call's output tensors: node, tensor (kept alive), version when it was returned.
        self.outputs: list[list[tuple[Any, Tensor, int]]] = []
        self._open: list[int] = []
        self.hidden = HiddenReads()

    @contextmanager
    def recording(self) -> Iterator[None]:
        with replaced_forwards(self.modules, self._wrap):
            yield

    def _wrap(self, name: str, module: nn.Module, forward: Forward) -> Forward:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            call_id = self._enter(name)
            read = list(flatten_tensors((args, kwargs)))
            versions, nodes = {id(t): t._version for t in read}, {t.grad_fn for t in read}
            output = forward(*args, **kwargs)
            if isinstance(module, QuantLayer) and not isinstance(module, QuantOperand):
                output = standing_alone(output)
            self._open.pop()
            # A tensor that is passed through is somebody else's output.
            tensors = [t for t in flatten_tensors(output) if t.grad_fn not in nodes]
            self.outputs[call_id] = [(t.grad_fn, t, t._version) for t in tensors]
            self.hidden.link((args, kwargs), tensors)
            written = any(t._version != versions[id(t)] for t in read)
            self.calls[call_id].storable = not written and _storable(output, (args, kwargs))
            return output

        return recorded

    def _enter(self, name: str) -> int:
        for i in self._open:
            self.calls[i].inner[name] += 1
        parent = self._open[-1] if self._open else None
        self.calls.append(Call(name, parent, len(self._open)))
        self.outputs.append([])
        self._open.append(len(self.calls) - 1)
        return len(self.calls) - 1


def _storable(output: Any, inputs: Any) -> bool:
    if not _plain(output):
        return False
    tensors = list(flatten_tensors(output))
    read = {t.untyped_storage().data_ptr() for t in flatten_tensors(inputs)}
    return bool(tensors) and all(
        t.is_floating_point()
        and t.grad_fn is not None
        and t.untyped_storage().data_ptr() not in read
        for t in tensors
    )


def _plain(value: Any) -> bool:
    if type(value) in (tuple, list):
        return all(_plain(item) for item in value)
    if type(value) is dict:
        return all(_plain(item) for item in value.values())
    return value is None or isinstance(value, Tensor)


def map_tensors(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """Nested tuples, lists and dicts with ``function`` of each tensor in its place."""
    if isinstance(value, Tensor):
        return function(value)
    if type(value) in (tuple, list):
        return type(value)(map_tensors(item, function) for item in value)
    if type(value) is dict:
        return {key: map_tensors(item, function) for key, item in value.items()}
    return value
