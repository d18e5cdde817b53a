"""What bit-widths do to the heads' outputs: estimates that add up over the tensors."""

import math
from collections.abc import Mapping, Sequence

from mmptq.algorithms.mixed_precision.groups import Allocation, Group

# Estimates of mmptq.algorithms.sensitivity.Estimate; the first decides.
KINDS = ("fisher", "projected")

Harm = Sequence[Sequence[float]]  # of each group, that of each choice


def harm_of(groups: Sequence[Group], estimates: Mapping[str, Sequence[float]]) -> Harm:
    """Of each choice of each group, the sum over its members.

    Args:
        groups: In the order of an allocation.
        estimates: Of each layer's weight and each site, that of each choice.
    """
    return [
        [math.fsum(estimates[name][i] for name in group.members) for i in range(len(group.choices))]
        for group in groups
    ]


def total(harm: Harm, allocation: Allocation) -> float:
    """Of a whole allocation."""
    return math.fsum(values[i] for values, i in zip(harm, allocation, strict=True))
