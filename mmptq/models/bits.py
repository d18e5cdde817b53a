"""Plans that differ by bit-widths, and the qconfig that gives them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mmptq.models.plan import Plan
from mmptq.models.specs import TensorSpec


def with_bits(plan: Plan, weights: Mapping[str, float], acts: Mapping[str, float]) -> Plan:
    """``plan`` with other bit-widths.

    Args:
        plan: Of a model.
        weights: By layer; layers that it lacks stay.
        acts: By site.
    """
    return _changed(plan, lambda key, bits: weights.get(key, bits), lambda k, b: acts.get(k, b))


def without_bits(plan: Plan) -> Plan:
    """``plan`` with the same bit-width everywhere: what is left when bit-widths do not count."""
    return _changed(plan, lambda key, bits: 8.0, lambda key, bits: 8.0)


def _changed(
    plan: Plan, weight: Callable[[str, float], float], act: Callable[[str, float], float]
) -> Plan:
    layers = (
        replace(x, weight=x.weight and _at(x.weight, weight(x.name, x.weight.num_bits)))
        for x in plan.layers
    )
    sites = (replace(x, spec=_at(x.spec, act(x.name, x.spec.num_bits))) for x in plan.sites)
    return replace(plan, layers=tuple(layers), sites=tuple(sites))


def _at(spec: TensorSpec, num_bits: float) -> TensorSpec:
    return replace(spec, num_bits=float(num_bits))


def tied_sites(plan: Plan) -> list[tuple[str, ...]]:
    """Sites that share a bit-width, in the plan's order: those that one layer reads through.

    All calls of a layer have one spec in a ``qconfig``. A head that runs on every level of a
    pyramid ties the levels, and a level ties all heads that read it.
    """
    groups = {site.name: {site.name} for site in plan.sites}
    for layer in plan.layers:
        read = [name for name in layer.inputs if name is not None]
        joined = set().union(*(groups[name] for name in read))
        groups.update(dict.fromkeys(joined, joined))
    order = [site.name for site in plan.sites]
    return list(dict.fromkeys(tuple(n for n in order if n in groups[first]) for first in order))


def layer_override(plan: Plan, name: str) -> dict[str, Any]:
    """The entry of ``qconfig.overrides`` that gives layer ``name`` what it has in ``plan``."""
    (layer,) = (x for x in plan.layers if x.name == name)
    # All calls that read through a quantizer have one spec.
    site = next((s for s in layer.inputs if s is not None), None)
    spec = next((x.spec for x in plan.sites if x.name == site), None)
    return {
        "pattern": name,
        "weight": layer.weight and asdict(layer.weight),
        "act": spec and asdict(spec),
    }


def bits_overrides(plan: Plan, changed: Plan) -> list[dict[str, Any]]:
    """What makes ``plan`` the plan ``changed``, to stand first in ``qconfig.overrides``.

    An entry hides all others for its layer, so it says what the layer had by them, too.
    """
    names = [layer.name for layer in plan.layers]
    pairs = ((layer_override(plan, name), layer_override(changed, name)) for name in names)
    return [after for before, after in pairs if before != after]


def readers(plan: Plan, sites: Iterable[str]) -> Sequence[str]:
    """Layers that read through any of ``sites``, in the plan's order."""
    wanted = set(sites)
    return [layer.name for layer in plan.layers if wanted.intersection(layer.inputs)]
