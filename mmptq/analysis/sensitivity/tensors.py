"""The quantized tensors of a model: their names, readers, stages and costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mmptq.models import LayerPlan, Plan, QuantModel
from mmptq.models.stages import stage_of, stage_of_readers
from mmptq.quantizers import UniformQuantizer

# Multiply-accumulate operations of each call of a layer; empty where nobody counted.
Macs = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class QuantizedTensor:
    """One quantizer of a model, and what it quantizes.

    Args:
        name: As in LAPQ's logs: ``<layer>.weight`` or ``<layer>.act``.
        layers: Those that read through it, or the one whose weight it quantizes.
        which: ``'weight'`` or ``'act'``.
        stage: Part of the detector.
        macs: Multiply-accumulate operations of an image in which it takes part.
        quantizer: The model's own.
    """

    name: str
    layers: tuple[str, ...]
    which: str
    stage: str
    macs: int
    quantizer: UniformQuantizer


def quantized_tensors(model: QuantModel, macs: Macs) -> list[QuantizedTensor]:
    """All that have a range, in the order of execution, so that each is close behind the last.

    Args:
        model: Prepared.
        macs: Of each layer's calls.
    """
    assert model.plan is not None
    return [t for layer in model.plan.layers for t in _tensors_of(layer, model, model.plan, macs)]


def _tensors_of(
    layer: LayerPlan, model: QuantModel, plan: Plan, macs: Macs
) -> Iterator[QuantizedTensor]:
    for site in plan.sites:
        quantizer = model.sites[site.name]
        if site.owner == layer.name and quantizer.calibrated:
            readers = tuple(x.name for x in plan.layers if site.name in x.inputs)
            name = layer.name if len(set(layer.inputs)) == 1 else site.name
            count = sum(_macs_through(plan, reader, site.name, macs) for reader in readers)
            stage = stage_of_readers(readers)
            yield QuantizedTensor(f"{name}.act", readers, "act", stage, count, quantizer)
    weight = model.weight_quantizers().get(layer.name)
    if weight is not None and weight.calibrated:
        count, stage = sum(macs.get(layer.name, ())), stage_of(layer.name)
        yield QuantizedTensor(f"{layer.name}.weight", (layer.name,), "weight", stage, count, weight)


def _macs_through(plan: Plan, reader: str, site: str, macs: Macs) -> int:
    """Of those calls of a layer that read through a site."""
    calls = macs.get(reader, ())
    (inputs,) = (x.inputs for x in plan.layers if x.name == reader)
    if len(inputs) == 1:
        return sum(calls)
    return sum(count for count, name in zip(calls, inputs, strict=False) if name == site)
