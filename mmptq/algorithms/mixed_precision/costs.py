"""What each choice costs: bytes, and bit operations."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmptq.algorithms.mixed_precision.groups import Allocation, Group, chosen_bits
from mmptq.evaluation import ModelProfile, model_cost
from mmptq.evaluation.cost import FLOAT_BITS
from mmptq.evaluation.operands import Quantized, products
from mmptq.models import Plan

SIZE, GBOPS = "size_mb", "gbops"


@dataclass(frozen=True)
class Costs:
    r"""Size and bit operations of every allocation.

    With the bit-width :math:`b_g` of group :math:`g` the size is :math:`c + \sum_g n_g b_g`, and
    the bit operations are :math:`d + \sum_g l_g b_g + \sum_{g \le h} m_{gh} b_g b_h`.

    Args:
        groups: In the order of an allocation.
        constant: ``c`` in MB and ``d`` in 10**9, by :data:`SIZE` and :data:`GBOPS`.
        size: ``n``, MB a bit.
        linear: ``l``, 10**9 a bit: products with something in float.
        pairs: ``m``, 10**9 multiply-accumulate operations.
    """

    groups: tuple[Group, ...]
    constant: dict[str, float]
    size: tuple[float, ...]
    linear: tuple[float, ...]
    pairs: dict[tuple[int, int], float]

    @classmethod
    def of(cls, groups: Sequence[Group], profile: ModelProfile, plan: Plan) -> "Costs":
        """Of a profiled model."""
        numbers = {layer.name: layer.numel for layer in profile.layers}
        size = [numbers[g.members[0]] / 8e6 if g.which == "weight" else 0.0 for g in groups]
        index = {Quantized(g.which, m): i for i, g in enumerate(groups) for m in g.members}
        linear = [0.0] * len(groups)
        pairs: dict[tuple[int, int], float] = defaultdict(float)
        for product in products(profile, plan):
            found = sorted(index[x] for x in (product.first, product.second) if x is not None)
            giga = product.macs / 1e9
            if len(found) == 2:
                pairs[found[0], found[1]] += giga
            elif found:
                linear[found[0]] += giga * FLOAT_BITS
        pairs = {pair: macs for pair, macs in pairs.items() if macs}
        zero = cls(tuple(groups), {SIZE: 0.0, GBOPS: 0.0}, tuple(size), tuple(linear), pairs)
        now, moving = model_cost(profile, plan), zero._moving(_bits_now(groups, plan))
        constant = {SIZE: now.size_mb - moving[SIZE], GBOPS: now.gbops - moving[GBOPS]}
        return cls(zero.groups, constant, zero.size, zero.linear, pairs)

    def __call__(self, allocation: Allocation) -> dict[str, float]:
        """By :data:`SIZE` and :data:`GBOPS`."""
        moving = self._moving(chosen_bits(self.groups, allocation))
        return {key: self.constant[key] + value for key, value in moving.items()}

    def least(self) -> dict[str, float]:
        """The least that each can be."""
        return self((0,) * len(self.groups))

    def choices(self, which: str) -> tuple[float, ...]:
        """All bit-widths that there are to choose for weights or activations, ascending."""
        free = (g.choices for g in self.groups if g.which == which and not g.fixed)
        return tuple(sorted({bits for choices in free for bits in choices}))

    def _moving(self, bits: Sequence[float]) -> dict[str, float]:
        gbops = float(np.dot(self.linear, bits))
        gbops += sum(macs * bits[g] * bits[h] for (g, h), macs in self.pairs.items())
        return {SIZE: float(np.dot(self.size, bits)), GBOPS: gbops}


def _bits_now(groups: Sequence[Group], plan: Plan) -> list[float]:
    weights = {x.name: x.weight.num_bits for x in plan.layers if x.weight is not None}
    acts = {site.name: site.spec.num_bits for site in plan.sites}
    return [(weights if g.which == "weight" else acts)[g.members[0]] for g in groups]
