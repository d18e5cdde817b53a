"""Forward passes that recompute only what lies behind the parameters that changed."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.engine.incremental.call_graph import CallGraph, Forward, map_tensors, replaced_forwards
from mmptq.engine.storage.tensor_store import TensorStore, num_bytes
from mmptq.models.trace import flatten_tensors
from mmptq.modules import QuantLayer


class IncrementalForward:
    """Exact forward passes over the same images again and again, while few layers change.

    Between two rounds over the images, the layers whose quantizers, weights or corrections changed
    are found by themselves. In a round, a module call that does not depend on what changed returns
    the output it had; one whose output nobody needs returns zeros; the rest is computed as usual.
    So the result equals that of a full pass bit by bit, for every topology whose dependencies
    autograd can see.

    What changed between the last two rounds is taken to change in the next round too. Kept are the
    outputs in front of it (the cut), which a coordinate-wise search reads throughout a whole line
    search, and, while the budget lasts, earlier ones that are still right.

    Args:
        model: The float model's modules, prepared (what the calls' names refer to).
        graph: Of the forward function that the passes run.
        max_gb: Memory budget of the kept outputs, in GiB.
        folder: For those of the cut that do not fit.
        num_images: How many images a round has.
    """

    def __init__(
        self, model: nn.Module, graph: CallGraph, max_gb: float, folder: str | Path, num_images: int
    ) -> None:
        self.graph = graph
        self._num_images = num_images
        self._device = next(model.parameters()).device
        self._modules = [(n, m) for n, m in model.named_modules() if n in graph.by_module]
        self._layers = {n: m for n, m in self._modules if isinstance(m, QuantLayer)}
        self._store = TensorStore(max_gb, folder)
        self._kept: dict[int, set[Hashable]] = {}  # call -> images whose output is in the store
        self._last_used: dict[int, int] = {}
        self._forms: dict[tuple[Hashable, int], Any] = {}  # output with meta tensors
        self._fingerprints: dict[tuple[str, int], Any] = {}
        self._round = 0
        self._hits: set[int] = set()
        self._runs: set[int] = set(range(len(graph.calls)))
        self._cut: set[int] = set()

    @property
    def bytes_in_memory(self) -> int:
        """Size of the kept outputs."""
        return self._store.bytes_in_memory

    @property
    def reused(self) -> set[int]:
        """Calls whose kept output this round returns."""
        return self._hits

    def start_round(self) -> set[tuple[str, int]]:
        """Begin a new round over all images.

        Returns:
            Layer and call of each that changed since the last round.
        """
        keys = self.graph.layer_calls
        now = {(name, call): self._layers[name].fingerprint(call) for name, call in keys}
        changed = {key for key, state in now.items() if self._fingerprints.get(key) != state}
        self._fingerprints = now
        bits = self.graph.call_bits(changed)
        for call, images in list(self._kept.items()):
            if self.graph.calls[call].upstream & bits or len(images) < self._num_images:
                self._forget(call)
        if bits:
            self._cut = self.graph.cut(bits)
        self._hits, self._runs = self.graph.resolve(set(self._kept), self._cut)
        self._round += 1
        for call in self._hits:
            self._last_used[call] = self._round
        return changed

    @contextmanager
    def passing(self, image: Hashable) -> Iterator[None]:
        """In this context, one forward pass of ``image`` is incremental."""
        with replaced_forwards(self._answered(image), _Pass(self, image).wrap):
            yield

    def _answered(self, image: Hashable) -> list[tuple[str, nn.Module]]:
        """Modules that are called: not those within what does not run, most of a deep network."""
        reached = {
            call.module
            for call in self.graph.calls
            if call.parent is None or self.role(call.parent, image) == "run"
        }
        return [(name, module) for name, module in self._modules if name in reached]

    def keep(self, call: int, image: Hashable, output: Any) -> None:
        """Note the form of a computed output, and keep it if it is in the cut."""
        if not self.graph.calls[call].storable:
            return
        if (image, call) not in self._forms:
            self._forms[image, call] = map_tensors(
                output, lambda t: torch.empty_like(t, device="meta")
            )
        if call not in self._cut:
            return
        mutated = self.graph.calls[call].mutated
        tensors = list(flatten_tensors(output))
        tensors = [t.clone() if m else t for t, m in zip(tensors, mutated, strict=True)]
        self._make_room(tensors)
        self._store.put((call, image), tensors)
        self._kept.setdefault(call, set()).add(image)
        self._last_used[call] = self._round

    def output(self, call: int, image: Hashable) -> Any:
        """The kept output of a call; a copy where somebody writes to it."""
        mutated = self.graph.calls[call].mutated
        kept = self._store.get((call, image))
        tensors = iter([t.clone() if m else t for t, m in zip(kept, mutated, strict=True)])
        return map_tensors(self._forms[image, call], lambda _: next(tensors))

    def role(self, call: int, image: Hashable) -> str:
        """``'kept'``, ``'skip'`` or ``'run'``."""
        if call in self._hits:
            return "kept"
        if call not in self._runs and (image, call) in self._forms:
            return "skip"
        return "run"

    def placeholder(self, call: int, image: Hashable) -> Any:
        """Zeros of the form of a call's output.

        Zeros, since nobody needs the output but somebody may read it: MMDetection's RoI extractor
        adds 0 times a level on which the image has no region, and 0 times NaN is NaN.
        """
        form, device = self._forms[image, call], self._device

        def zeros(t: Tensor) -> Tensor:
            # empty_like of a meta tensor would take a hundred times as long.
            return torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=device).zero_()

        return map_tensors(form, zeros)

    def _make_room(self, tensors: list[Tensor]) -> None:
        """Drop outputs that this round does not use, oldest first, before anything spills."""
        if num_bytes(tensors) > self._store.budget:
            return
        idle = [c for c in self._kept if c not in self._hits and c not in self._cut]
        for call in sorted(idle, key=lambda c: self._last_used[c]):
            if self._store.fits(tensors):
                return
            self._forget(call)

    def _forget(self, call: int) -> None:
        for image in self._kept.pop(call):
            self._store.drop((call, image))


class _Pass:
    """Answers the module calls of one forward pass."""

    def __init__(self, owner: IncrementalForward, image: Hashable) -> None:
        self._owner = owner
        self._image = image
        self._counts: Counter[str] = Counter()

    def wrap(self, name: str, module: nn.Module, forward: Forward) -> Forward:
        owner, calls = self._owner, self._owner.graph.by_module[name]

        def answered(*args: Any, **kwargs: Any) -> Any:
            count = self._counts[name]
            self._counts[name] += 1
            if count >= len(calls):  # more calls than when the graph was made
                return forward(*args, **kwargs)
            call = calls[count]
            role = owner.role(call, self._image)
            if role == "run":
                output = forward(*args, **kwargs)
                owner.keep(call, self._image, output)
                return output
            self._skip(call, name, module)
            if role == "kept":
                return owner.output(call, self._image)
            return owner.placeholder(call, self._image)

        return answered

    def _skip(self, call: int, name: str, module: nn.Module) -> None:
        """Count the calls that will not happen."""
        if isinstance(module, QuantLayer):
            module.skip_calls(1)
        for inner, count in self._owner.graph.calls[call].inner.items():
            self._counts[inner] += count
            layer = self._owner._layers.get(inner)
            if layer is not None:
                layer.skip_calls(count)
