"""Which layers get a quantizer behind them, so that a runtime fuses them with it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mmptq.models.chains import Call, Chain, computes_in_integers, fused_calls, sites_behind
from mmptq.models.links import SPATIAL
from mmptq.models.trace import Trace

OUTPUT = "output"  # attribute of a layer

# What reads quantized outputs, by autograd's names: the values that it gives lie between those that
# it reads, or are their sums.
_READERS = SPATIAL | {"Add", "Cat"}


@dataclass(frozen=True)
class OutputCalls:
    """A layer whose output everybody reads through one quantizer.

    Args:
        layer: Its name.
        kind: Key of :data:`mmptq.modules.OUTPUTS`.
        tensors: For each of its calls the id of what it writes, by which layers that read it are
            known; ``None`` for a call that needs no quantizer.
    """

    layer: str
    kind: str
    tensors: tuple[int | None, ...]

    @property
    def name(self) -> str:
        """Of the module that reads the output."""
        return f"{self.layer}.{OUTPUT}"


def find_outputs(
    model: nn.Module,
    trace: Trace,
    layers: Collection[Any],
    sites: Iterable[Any],
    folds: Collection[tuple[str, str]],
) -> list[OutputCalls]:
    """Convolutions that give floats for want of a single quantizer behind them.

    Their outputs, behind a ReLU that follows, are read by additions, concatenations, pools and
    upsampling, perhaps by layers as well, or through several quantizers. In front of another
    activation function, whose input has a wider range than what it lets through, they stay float:
    YOLOX-Nano lost 6 of 26 mAP by quantizers in front of its SiLUs. So do outputs of the whole
    model, what a layer reads in float by the qconfig, outputs of a layer of which some calls have a
    ReLU behind them and some have none, and of one that reads a range per channel, which runtimes
    compute in float.

    Args:
        model: Expanded as it was when it was traced.
        trace: Of it.
        layers: Plans of its layers, as they are without outputs.
        sites: Plans of its sites.
        folds: ``(layer, batch norm)`` pairs that are folded.
    """
    planned = {layer.name: layer for layer in layers}
    by_channel = {site.name for site in sites if site.channels is not None}
    fused = set(fused_calls(trace.chains, layers, folds))
    unread = iter(range(-1, -1 - len(trace.chains), -1))  # ids of tensors that no layer reads
    chains: dict[str, list[Chain]] = {}
    for chain in trace.chains:
        chains.setdefault(chain.writer[0], []).append(chain)
    found = []
    for name, own in chains.items():
        whole = all(computes_in_integers(chain, planned, folds) for chain in own)
        whole &= by_channel.isdisjoint(planned[name].inputs)
        if not whole or not _may_have_output(model, trace, name, own):
            continue
        tensors = tuple(
            _tensor(chain, trace, next(unread))
            if chain.writer not in fused and _may_read_codes(chain, planned)
            else None
            for chain in own
        )
        if any(tensor is not None for tensor in tensors):
            kind = "quantized ReLU" if own[0].relu else "quantized output"
            found.append(OutputCalls(name, kind, tensors))
    return found


def _may_have_output(model: nn.Module, trace: Trace, name: str, chains: Sequence[Chain]) -> bool:
    """Whether a layer is a convolution in the midst of the model, all of whose calls are alike."""
    inner = isinstance(model.get_submodule(name), nn.Conv2d) and name not in trace.last
    seen = len(chains) == len(trace.calls[name])  # a call without gradients writes no node
    return inner and seen and len({chain.relu for chain in chains}) == 1


def _may_read_codes(chain: Chain, planned: Mapping[str, Any]) -> bool:
    """Whether nothing that reads what a call writes is to read it in float."""
    return chain.others <= _READERS and None not in sites_behind(chain, planned)


def _tensor(chain: Chain, trace: Trace, otherwise: int) -> int:
    """Id of what the layers behind a chain read."""
    if not chain.readers:
        return otherwise
    name, call = chain.readers[0]
    return trace.calls[name][call]


def with_outputs(
    calls: Mapping[str, list[int]], outputs: Iterable[OutputCalls]
) -> dict[str, list[int | None]]:
    """``calls`` of layers in the order of execution, each output behind its layer."""
    behind = {output.layer: output for output in outputs}
    found: dict[str, list[int | None]] = {}
    for name, tensors in calls.items():
        found[name] = list(tensors)
        if name in behind:
            found[behind[name].name] = list(behind[name].tensors)
    return found


def output_calls(outputs: Iterable[OutputCalls]) -> set[Call]:
    """Calls of layers with a quantizer behind them."""
    return {
        (output.layer, call)
        for output in outputs
        for call, tensor in enumerate(output.tensors)
        if tensor is not None
    }
