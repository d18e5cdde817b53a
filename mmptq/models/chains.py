"""Layers that hand their output to layers alone: what integer runtimes fuse."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmptq.models.links import ReadCounter

Call = tuple[str, int]  # of a layer


@dataclass(frozen=True)
class Chain:
    """What one call of a layer writes is read by calls of layers alone, behind a ReLU at most.

    Args:
        writer: The call that writes.
        readers: The calls that read.
        norm: Batch norm in between, right behind the layer.
    """

    writer: Call
    readers: tuple[Call, ...]
    norm: str | None = None


def find_chains(
    reads: Mapping[str, Sequence[Any]],
    written: Mapping[Any, str],
    readers: ReadCounter,
    norms: Mapping[str, str],
) -> list[Chain]:
    """All chains of one pass; arguments as those of :func:`find_links`."""
    calls: Counter[str] = Counter()
    writers: dict[Any, Call] = {}
    for node, name in written.items():
        writers[node] = name, calls[name]
        calls[name] += 1
    found: dict[Any, list[Call]] = {}
    for name, nodes in reads.items():
        for call, node in enumerate(nodes):
            found.setdefault(node, []).append((name, call))
    chains = []
    for node, layer_calls in found.items():
        if node is None or readers.counts[node] != len(layer_calls):
            continue
        start, norm = _behind_relu_and_norm(node, written, readers.counts, norms)
        if start in writers:
            chains.append(Chain(writers[start], tuple(layer_calls), norm))
    return chains


def _behind_relu_and_norm(
    node: Any, written: Mapping[Any, str], readers: Counter[Any], norms: Mapping[str, str]
) -> tuple[Any, str | None]:
    """The node that a ReLU, a batch norm of a layer, or both made ``node`` of."""
    norm = None
    for operation in ("Relu", "BatchNorm"):
        if node in written or node is None or operation not in node.name():
            continue
        norm = operation if operation == "BatchNorm" else norm
        node = node.next_functions[0][0]
        if readers[node] != 1:
            return None, None
    return node, norms.get(written.get(node, "")) if norm else None


def fused_calls(
    chains: Iterable[Chain], layers: Iterable[Any], folds: Collection[tuple[str, str]]
) -> tuple[Call, ...]:
    """Calls that a runtime computes in integers from the quantized input to the next quantizer.

    Their output, behind a ReLU at most, is read through one site and by nothing else. Other layers
    give floats, to which runtimes add biases as they are.

    Args:
        chains: Of the model.
        layers: The plans of its layers.
        folds: ``(layer, batch norm)`` pairs that are folded.
    """
    planned = {layer.name: layer for layer in layers}
    found = []
    for chain in chains:
        name, call = chain.writer
        sites = {_site(planned[reader], at) for reader, at in chain.readers}
        folded = chain.norm is None or (name, chain.norm) in folds
        both = planned[name].weight is not None and _site(planned[name], call) is not None
        if folded and both and len(sites) == 1 and None not in sites:
            found.append((name, call))
    return tuple(sorted(found))


def _site(layer: Any, call: int) -> str | None:
    return layer.inputs[0 if len(layer.inputs) == 1 else call]
