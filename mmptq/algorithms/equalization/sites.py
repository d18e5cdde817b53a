"""Where an explicit factor per channel can stand in front of an activation quantizer."""

from typing import Any

from mmptq.models import QuantModel, has_own_weight, parameter_owners
from mmptq.modules import in_channels


def explicit_groups(model: QuantModel) -> list[tuple[str, ...]]:
    """Layers that can divide what they read by one factor, where no link does it for free.

    The layers that read through one site divide alike, as it quantizes one tensor; a layer that
    reads through several sites has one weight, which takes one factor.

    Args:
        model: Prepared.

    Returns:
        Names of the layers of each group: all convolutions or all linear layers, none depthwise,
        with the same input channels.
    """
    assert model.plan is not None
    linked = {after for _, after in model.plan.links}
    layers: dict[str, Any] = dict(model.quant_layers())
    owners = parameter_owners(model.model)
    found = []
    for names in _groups(model):
        forms = {_form(layers[name]) for name in names}
        own = all(has_own_weight(layers[name], owners) for name in names)
        if own and len(forms) == 1 and None not in forms and linked.isdisjoint(names):
            found.append(names)
    return found


def _groups(model: QuantModel) -> list[tuple[str, ...]]:
    """Layers that hang together by the sites through which they read."""
    assert model.plan is not None
    groups: list[tuple[set[str], list[str]]] = []
    for layer in model.plan.layers:
        sites = {site for site in layer.inputs if site is not None}
        if not sites:
            continue
        names = [layer.name]
        for group in [group for group in groups if group[0] & sites]:
            groups.remove(group)
            sites, names = group[0] | sites, group[1] + names
        groups.append((sites, names))
    return [tuple(names) for _, names in groups]


def _form(layer: Any) -> tuple[int, int] | None:
    """Axes of the weight and input channels; ``None`` for a layer that cannot divide."""
    if layer.weight.dim() not in (2, 4) or 1 < getattr(layer, "groups", 1) == layer.in_channels:
        return None
    return layer.weight.dim(), in_channels(layer)
