"""Passes of one input through a model of which few layers change: no module call is repeated.

:class:`~mmptq.engine.incremental.incremental.IncrementalForward` knows what depends on what from
one small pass, with all that a model decides on the way held fixed. A prediction decides anew:
which regions are looked at depends on the outputs, and so does how often a module is called. Here a
call is known by what it reads.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.adapters.base import parents_of
from mmptq.engine.incremental.call_graph import Forward, map_tensors, replaced_forwards
from mmptq.models.trace import flatten_tensors
from mmptq.modules import QuantLayer

# Of each layer that changes, whether each of its calls has another fingerprint than it had.
Differs = Mapping[QuantLayer, tuple[bool, ...]]


class MemoizedForward:
    """Exact passes of one input, which take from a recorded pass what is the same in it.

    A module call returns what it returned there if the changing layers in it are as they were and
    it reads the same bits. So a pass equals a full one for every model whose modules are functions
    of what they are given.

    Nothing is copied: what somebody wrote to after it was recorded is computed again.

    Attributes:
        bytes_kept: Size of what is kept.

    Args:
        model: The float model's modules, prepared.
        changing: Names of all layers whose quantizers, weights or corrections change from pass to
            pass. A module that holds none of them, and reads one tensor, is answered or computed
            whole: nothing within it is kept.
        max_gb: Memory budget of what is kept, in GiB; calls beyond it are computed every time.
    """

    def __init__(self, model: nn.Module, changing: Iterable[str], max_gb: float) -> None:
        names = set(changing)
        self._open = {part for name in names for part in (name, *parents_of(name))}
        self._budget = int(max_gb * 2**30)
        self._modules = list(_worth_keeping(model))
        self._layers = {m: _layers_in(m) for _, m in self._modules}
        self._changing: list[Any] = [m for n, m in model.named_modules() if n in names]
        self._states: list[tuple[object, ...]] = []  # of the changing ones, in the recorded pass
        self._answers: dict[str, list[_Answer]] = {}
        self._storages: set[int] = set()
        self.bytes_kept = 0
        self._closed = False  # within a call of which nothing inside is kept

    @contextmanager
    def recording(self) -> Iterator[None]:
        """In this context, one pass is kept, in place of the last one."""
        self._answers.clear()
        self._storages.clear()
        self.bytes_kept = 0
        self._states = [layer.fingerprints() for layer in self._changing]
        with replaced_forwards(self._modules, self._recorded):
            yield

    @contextmanager
    def answering(self) -> Iterator[None]:
        """In this context, a pass of the recorded input computes only what differs."""
        differs = {
            layer: tuple(a != b for a, b in zip(state, layer.fingerprints(), strict=True))
            for layer, state in zip(self._changing, self._states, strict=True)
        }
        left = {
            name: [answer for answer in answers if not answer.changed(differs)]
            for name, answers in self._answers.items()
        }
        modules = [(name, module) for name, module in self._modules if left.get(name)]
        with replaced_forwards(modules, lambda name, _, forward: _answered(left[name], forward)):
            yield

    def _recorded(self, name: str, module: nn.Module, forward: Forward) -> Forward:
        layers, is_layer = self._layers[module], isinstance(module, QuantLayer)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            read = _own((args, kwargs))
            if self._closed or not _comparable(read):
                return forward(*args, **kwargs)
            tensors = tuple(flatten_tensors(read))
            versions, first = _versions(tensors), [layer.calls for layer in layers]
            self._closed = is_layer or (name not in self._open and len(tensors) == 1)
            try:
                output = forward(*args, **kwargs)
            finally:
                self._closed = False
            if versions == _versions(tensors) and _stands_alone(output, tensors):
                calls = {k: range(i, k.calls) for k, i in zip(layers, first, strict=True)}
                self._keep(name, read, output, {k: ran for k, ran in calls.items() if ran})
            return output

        return recorded

    def _keep(self, name: str, read: Any, output: Any, calls: Mapping[QuantLayer, range]) -> None:
        inputs, outputs = tuple(flatten_tensors(read)), tuple(flatten_tensors(output))
        storages = {s.data_ptr(): s.nbytes() for s in map(Tensor.untyped_storage, inputs + outputs)}
        size = sum(n for pointer, n in storages.items() if pointer not in self._storages)
        if self.bytes_kept + size > self._budget:
            return
        self._storages.update(storages)
        self.bytes_kept += size
        versions = _versions(inputs + outputs)
        answer = _Answer(_frame(read), inputs, _own(output), outputs, versions, calls)
        self._answers.setdefault(name, []).append(answer)


@dataclass(frozen=True)
class _Answer:
    """One call of a module.

    Args:
        frame: Its arguments, without the tensors in them.
        inputs: These tensors.
        output: What it returned.
        outputs: The tensors in that.
        versions: Of inputs and outputs; another one means that somebody has written to it.
        calls: Of each quantized layer that ran in it, which of the layer's calls in the pass.
    """

    frame: Any
    inputs: tuple[Tensor, ...]
    output: Any
    outputs: tuple[Tensor, ...]
    versions: tuple[int, ...]
    calls: Mapping[QuantLayer, range]

    def changed(self, differs: Differs) -> bool:
        """Whether a layer computes something else in one of these calls."""
        for layer, by_call in differs.items():
            calls = self.calls.get(layer, range(0))
            # One entry serves every call.
            if calls and any(by_call if len(by_call) == 1 else by_call[calls.start : calls.stop]):
                return True
        return False

    def fits(self, read: Any, tensors: tuple[Tensor, ...]) -> bool:
        """Whether a call that reads ``read``, with these tensors in it, is the same call."""
        return (
            all(layer.calls == calls.start for layer, calls in self.calls.items())
            and len(tensors) == len(self.inputs)
            and all(map(_equal, self.inputs, tensors))
            and self.versions == _versions(self.inputs + self.outputs)
            and _comparable(read)
            and self.frame == _frame(read)
        )

    def give(self) -> Any:
        """The output; calls that will not happen are counted."""
        for layer, calls in self.calls.items():
            layer.skip_calls(len(calls))
        return _own(self.output)


def _answered(answers: Iterable[_Answer], forward: Forward) -> Forward:
    def answered(*args: Any, **kwargs: Any) -> Any:
        read = args, kwargs
        tensors = tuple(flatten_tensors(read))
        for answer in answers:
            if answer.fits(read, tensors):
                return answer.give()
        return forward(*args, **kwargs)

    return answered


def _worth_keeping(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Quantized layers and what is made of modules: to compare costs more than an activation."""
    layers = [module for module in model.modules() if isinstance(module, QuantLayer)]
    inside = {module for layer in layers for module in layer.modules() if module is not layer}
    for name, module in model.named_modules():
        costly = isinstance(module, QuantLayer) or any(True for _ in module.children())
        if name and costly and module not in inside:
            yield name, module


def _layers_in(module: nn.Module) -> list[QuantLayer]:
    return [inner for inner in module.modules() if isinstance(inner, QuantLayer)]


def _versions(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    return tuple(t._version for t in tensors)


def _own(value: Any) -> Any:
    """The same tensors in tuples, lists and dicts that nobody else changes."""
    return map_tensors(value, lambda tensor: tensor)


def _frame(value: Any) -> Any:
    """A nested value with a mark in the place of each tensor."""
    return map_tensors(value, lambda tensor: ...)


def _comparable(value: Any) -> bool:
    if type(value) in (tuple, list):
        return all(_comparable(item) for item in value)
    if type(value) is dict:
        return all(_comparable(item) for item in value.values())
    return value is None or isinstance(value, Tensor | torch.Size | bool | int | float | str)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits in the same layout, which decides the kernel."""
    return a is b or (
        a.shape == b.shape
        and (a.stride(), a.dtype, a.device) == (b.stride(), b.dtype, b.device)
        and torch.equal(a, b)
    )


def _stands_alone(output: Any, read: Iterable[Tensor]) -> bool:
    """Whether an output may be given again: it is comparable, and no part of what was read."""
    tensors = list(flatten_tensors(output))
    memory = {t.untyped_storage().data_ptr() for t in read}
    return (
        bool(tensors)
        and _comparable(output)
        and not any(t.untyped_storage().data_ptr() in memory for t in tensors)
    )
