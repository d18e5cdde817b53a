"""What has a bit-width of its own: a weight, or activations that share one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mmptq.errors import ConfigError
from mmptq.models import LayerPlan, Plan, QConfig
from mmptq.models.bits import readers, tied_sites, with_bits
from mmptq.models.stages import stage_of, stage_of_readers
from mmptq.modules import OUTPUTS

# The index of a choice for each group.
Allocation = tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Quantizers that share a bit-width.

    Args:
        which: ``'weight'`` or ``'act'``.
        members: The layer whose weight it is, or sites.
        layers: That layer, or all that read through the sites.
        stage: Part of the model (:mod:`mmptq.models.stages`).
        choices: Bit-widths in ascending order; one where it is fixed.
    """

    which: Literal["weight", "act"]
    members: tuple[str, ...]
    layers: tuple[str, ...]
    stage: str
    choices: tuple[float, ...]

    @property
    def name(self) -> str:
        """As quantizers are called elsewhere, by the first layer."""
        return f"{self.layers[0]}.{self.which}"

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.choices) == 1

    def nearest(self, num_bits: float) -> int:
        """Index of the choice nearest to ``num_bits``; of two, the one with fewer bits."""
        return min(range(len(self.choices)), key=lambda i: abs(self.choices[i] - num_bits))


def find_groups(
    plan: Plan, qconfig: QConfig, weight_bits: Sequence[float], act_bits: Sequence[float]
) -> list[Group]:
    """All quantized tensors of ``plan``, weights first.

    What an override of ``qconfig`` or its scope decides is fixed, and so is what reads an output
    for a runtime. Weights get no more bits than the target has.

    Args:
        plan: Made from ``qconfig``.
        qconfig: Of the run.
        weight_bits: To choose from, ascending.
        act_bits: Likewise.

    Raises:
        ConfigError: Everything is fixed.
    """
    layers = {layer.name: layer for layer in plan.layers}
    limit = qconfig.target.weight_bits if qconfig.target is not None else max(weight_bits)
    weight_choices = tuple(dict.fromkeys(float(min(bits, limit)) for bits in weight_bits))
    act_choices = tuple(float(bits) for bits in act_bits)
    groups = []
    for layer in plan.layers:
        if layer.weight is not None:
            free = not _decided("weight", layer, qconfig)
            choices = weight_choices if free else (layer.weight.num_bits,)
            name = (layer.name,)
            groups.append(Group("weight", name, name, stage_of(layer.name), choices))
    specs = {site.name: site.spec for site in plan.sites}
    for sites in tied_sites(plan):
        names = tuple(readers(plan, sites))
        free = not any(_decided("act", layers[name], qconfig) for name in names)
        choices = act_choices if free else (specs[sites[0]].num_bits,)
        groups.append(Group("act", sites, names, stage_of_readers(names), choices))
    if all(group.fixed for group in groups):
        raise ConfigError(
            "MixedPrecision: qconfig.overrides and the scope decide the bit-width of every tensor; "
            "nothing is left to choose"
        )
    return groups


def _decided(which: str, layer: LayerPlan, qconfig: QConfig) -> bool:
    return layer.kind in OUTPUTS or which in qconfig.decides(layer.name, layer.roles)


def chosen_bits(groups: Sequence[Group], allocation: Allocation) -> list[float]:
    """The bit-width of each group."""
    return [group.choices[i] for group, i in zip(groups, allocation, strict=True)]


def uniform(groups: Sequence[Group], weight: float, act: float) -> Allocation:
    """The same bit-widths for all that is not fixed, or the nearest there is to choose."""
    wanted = {"weight": weight, "act": act}
    return tuple(group.nearest(wanted[group.which]) for group in groups)


def allocated_plan(plan: Plan, groups: Sequence[Group], allocation: Allocation) -> Plan:
    """``plan`` with the bit-widths of an allocation."""
    by_kind: dict[str, dict[str, float]] = {"weight": {}, "act": {}}
    for group, num_bits in zip(groups, chosen_bits(groups, allocation), strict=True):
        by_kind[group.which].update(dict.fromkeys(group.members, num_bits))
    return with_bits(plan, by_kind["weight"], by_kind["act"])
