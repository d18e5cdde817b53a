"""The order in which layers can be finished, several at a time."""

from collections.abc import Iterator

from mmptq.engine.incremental.call_graph import CallGraph


def waves(graph: CallGraph, names: list[str]) -> Iterator[list[str]]:
    """Layers in groups, each of which reads only what earlier groups and other layers write.

    So the layers of one group can be finished together. A layer that reads its own output of an
    earlier call does not wait for itself; of several that read each other the first comes first.

    Args:
        graph: Of the model.
        names: In the order of first execution.
    """
    own = {name: graph.bits([name]) for name in names}
    reads = {name: 0 for name in names}
    for name in names:
        for call in graph.by_module[name]:
            reads[name] |= graph.calls[call].upstream & ~own[name]
    todo = list(names)
    while todo:
        unfinished = graph.bits(todo)
        wave = [name for name in todo if not reads[name] & unfinished] or todo[:1]
        yield wave
        todo = [name for name in todo if name not in wave]
