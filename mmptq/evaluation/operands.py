"""Which two tensors each product of a model multiplies: what its bit operations depend on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mmptq.evaluation.profile import LayerProfile, ModelProfile
from mmptq.models import LayerPlan, Plan


class Quantized(NamedTuple):
    """A quantized tensor.

    Args:
        which: ``'weight'`` or ``'act'``.
        name: Of the layer whose weight it is, or of the site.
    """

    which: Literal["weight", "act"]
    name: str


@dataclass(frozen=True)
class Product:
    """Multiply-accumulate operations of two tensors; ``None`` is one in float."""

    macs: int
    first: Quantized | None
    second: Quantized | None


def products(profile: ModelProfile, plan: Plan) -> Iterator[Product]:
    """All that the profiled model multiplies when it is quantized as ``plan`` says.

    The sum of ``macs`` times both bit-widths (32 for float) is the model's bit operations
    (:func:`mmptq.evaluation.model_cost`).
    """
    planned = {layer.name: layer for layer in plan.layers}
    for layer in profile.layers:
        first = _first(layer, planned)
        inputs = _inputs(planned.get(layer.name), len(layer.macs))
        for macs, site in zip(layer.macs, inputs, strict=True):
            yield Product(macs, first, _act(site))
    for product in profile.products:
        yield Product(product.macs, None, None)


def _first(layer: LayerProfile, planned: dict[str, LayerPlan]) -> Quantized | None:
    """What the layer multiplies its input by."""
    if layer.other is not None:  # all calls of an operand have one spec
        return _act(planned[layer.other].inputs[0]) if layer.name in planned else None
    plan = planned.get(layer.name)
    return None if plan is None or plan.weight is None else Quantized("weight", layer.name)


def _inputs(plan: LayerPlan | None, calls: int) -> tuple[str | None, ...]:
    if plan is None:
        return (None,) * calls
    return plan.inputs * calls if len(plan.inputs) == 1 else plan.inputs


def _act(site: str | None) -> Quantized | None:
    return None if site is None else Quantized("act", site)
