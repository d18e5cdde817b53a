"""A line that moves through a network, and the activations that are needed beyond it."""

from collections.abc import Hashable, Iterable
from typing import Any

from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.engine.incremental.incremental import IncrementalForward


class Front(IncrementalForward):
    """The activations of one network that the layers ahead of a moving line still need."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._untouched: set[int] = set()

    def share_forms(self, other: "Front") -> None:
        """Outputs have the same shapes in both networks."""
        self._forms = other._forms

    def move(self, targets: Iterable[int], ahead: Iterable[str], run_targets: bool) -> None:
        """Plan the next round over all images.

        Args:
            targets: Calls that must be reached.
            ahead: Layers that the line has not passed after this round.
            run_targets: Whether the targets are computed, or only what they read.
        """
        kept, targets = set(self._kept), set(targets)
        cut = _cut(self.graph, self.graph.bits(ahead))
        roots = targets | {call for call in cut if call not in kept}
        self._hits, self._runs = _resolve(self.graph, kept, roots)
        self._untouched = set() if run_targets else targets
        self._cut = cut
        self._round += 1
        for call in self._hits:
            self._last_used[call] = self._round

    def settle(self) -> None:
        """After the round: forget what nothing ahead reads."""
        for call in [call for call in self._kept if call not in self._cut]:
            self._forget(call)

    def reads_image(self, first: Iterable[str]) -> bool:
        """Whether this round computes a layer that reads the image."""
        names = set(first)
        return any(self.graph.calls[call].module in names for call in self._runs)

    def role(self, call: int, image: Hashable) -> str:
        """As in the base class; targets may be left out."""
        # What has no form (the view that an operand is) is computed after all.
        skip = call in self._untouched and (image, call) in self._forms
        return "skip" if skip else super().role(call, image)

    def keep(self, call: int, image: Hashable, output: Any) -> None:
        """As in the base class, but nothing is computed twice."""
        if image not in self._kept.get(call, ()):
            super().keep(call, image, output)


def _cut(graph: CallGraph, changing: int) -> set[int]:
    """Outermost calls with a single output that do not depend on ``changing`` but are read behind.

    Of a call with several outputs some may be behind the front already; keeping the whole would
    mean to compute them again.
    """
    found: set[int] = set()

    def follow(node: int) -> Iterable[int]:
        for i in graph.calls_at[node]:
            call = graph.calls[i]
            if call.storable and len(set(call.nodes)) == 1 and not call.upstream & changing:
                found.add(i)
                return ()
        return graph.parents[node]

    graph.walk(follow)
    return found


def _resolve(graph: CallGraph, kept: set[int], roots: Iterable[int]) -> tuple[set[int], set[int]]:
    """Calls whose kept output is used, and calls that must run, for ``roots`` to be computed."""
    hits: set[int] = set()
    runs: set[int] = set()

    def follow(node: int) -> Iterable[int]:
        hit = next((i for i in graph.calls_at[node] if i in kept), None)
        if hit is not None:
            hits.add(hit)
            return ()
        runs.update(graph.calls_at[node])
        return graph.parents[node]

    graph.walk(follow, (node for call in roots for node in graph.calls[call].nodes))
    for call in [*hits, *runs, *roots]:
        parent = graph.calls[call].parent
        while parent is not None and parent not in hits:
            runs.add(parent)
            parent = graph.calls[parent].parent
    return hits, runs - hits
