"""What reads the outputs of layers: where integer runtimes fuse a layer with a quantizer."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Call = tuple[str, int]  # of a layer

UNKNOWN = "?"


@dataclass(frozen=True)
class Chain:
    """What reads the output of one call of a layer, behind its batch norm and a ReLU at most.

    Args:
        writer: The call that writes.
        readers: The calls of layers that read.
        norm: Batch norm in between, right behind the layer.
        relu: Whether a ReLU is in between.
        others: What else reads it, by autograd's names of operations; :data:`UNKNOWN` for what
            autograd does not see, and where it is an output of the model.
    """

    writer: Call
    readers: tuple[Call, ...]
    norm: str | None = None
    relu: bool = False
    others: frozenset[str] = frozenset()


def find_chains(
    reads: Mapping[str, Sequence[Any]],
    written: Mapping[Any, str],
    counts: Mapping[Any, int],
    children: Mapping[Any, Sequence[Any]],
    norms: Mapping[str, str],
) -> list[Chain]:
    """One chain for each call of a layer in a pass.

    Args:
        reads: For each layer, the autograd node of what each of its calls read.
        written: Autograd node of a layer's output -> layer, one for each call.
        counts: How often the output of each node is read.
        children: For each node, those that read it, as far as autograd knows them.
        norms: Layer -> the batch norm that alone reads what it wrote.
    """
    readers: dict[Any, list[Call]] = {}
    for name, nodes in reads.items():
        for call, node in enumerate(nodes):
            readers.setdefault(node, []).append((name, call))
    calls: Counter[str] = Counter()
    chains = []
    for node, name in written.items():
        if node is None:  # of an input that no layer wrote
            continue
        writer = name, calls[name]
        calls[name] += 1
        norm = _only_reader(node, "BatchNorm", written, counts, children) if name in norms else None
        relu = _only_reader(norm or node, "Relu", written, counts, children)
        end = relu or norm or node
        found = tuple(readers.get(end, ()))
        others = _others(end, written, counts, children)
        others = others if counts.get(end, 0) != len(found) else frozenset()
        chains.append(Chain(writer, found, norm and norms[name], relu is not None, others))
    return chains


def _others(
    node: Any,
    written: Mapping[Any, str],
    counts: Mapping[Any, int],
    children: Mapping[Any, Sequence[Any]],
) -> frozenset[str]:
    """Operations that read ``node`` and are no layers."""
    found = children.get(node, ())
    names = {
        UNKNOWN if child is None else _operation(child) for child in found if child not in written
    }
    return frozenset(names | ({UNKNOWN} if counts.get(node, 0) != len(found) else set()))


def _operation(node: Any) -> str:
    return node.name().partition("Backward")[0]


def _only_reader(
    node: Any,
    operation: str,
    written: Mapping[Any, str],
    counts: Mapping[Any, int],
    children: Mapping[Any, Sequence[Any]],
) -> Any:
    """The node of the ``operation`` that alone reads ``node``; ``None`` where there is none."""
    found = children.get(node, ())
    if counts.get(node, 0) != 1 or len(found) != 1 or found[0] is None or found[0] in written:
        return None
    kind = _operation(found[0])
    return found[0] if kind in (operation, f"Native{operation}", f"Cudnn{operation}") else None


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
        sites = sites_behind(chain, planned)
        one = len(sites) == 1 and None not in sites and not chain.others
        if one and computes_in_integers(chain, planned, folds):
            found.append(chain.writer)
    return tuple(sorted(found))


def sites_behind(chain: Chain, planned: Mapping[str, Any]) -> set[str | None]:
    """The sites through which layers read what the call writes; ``None`` among them for float."""
    return {_site(planned[reader], at) for reader, at in chain.readers}


def computes_in_integers(
    chain: Chain, planned: Mapping[str, Any], folds: Collection[tuple[str, str]]
) -> bool:
    """Whether the call that writes has both operands quantized, and no norm behind it."""
    name, call = chain.writer
    folded = chain.norm is None or (name, chain.norm) in folds
    both = planned[name].weight is not None and _site(planned[name], call) is not None
    return folded and both


def _site(layer: Any, call: int) -> str | None:
    return layer.inputs[0 if len(layer.inputs) == 1 else call]
