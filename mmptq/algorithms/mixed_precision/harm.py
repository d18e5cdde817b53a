"""What bit-widths do to the heads' outputs: estimates that add up over the tensors."""

import math
from collections.abc import Mapping, Sequence

from mmptq.algorithms.mixed_precision.groups import Allocation, Group
from mmptq.algorithms.sensitivity import Estimate

Harm = Sequence[Sequence[float]]  # of each group, that of each choice

# Estimated distances; what the search with a limit of the metric goes by.
DISTANCE = "distances add up"


def harms_of(
    groups: Sequence[Group], estimates: Mapping[str, Sequence[Estimate]]
) -> dict[str, Harm]:
    r"""Three ways to add up what single quantizers do, none of which is right everywhere.

    Errors that have nothing to do with each other add up in the distances :math:`d`. Errors that
    point in one direction add up in the outputs, and so in :math:`\sqrt d`. Both take the
    projected estimate, which sees that the errors of a tensor's elements belong together, and is
    noisy; its geometric mean with the Fisher diagonal is less so.

    Args:
        groups: In the order of an allocation.
        estimates: Of each layer's weight and each site, that of each choice.
    """

    def summed(kind: str) -> Harm:
        found = {name: [getattr(e, kind) for e in of] for name, of in estimates.items()}
        return [
            [math.fsum(found[name][i] for name in group.members) for i in range(len(group.choices))]
            for group in groups
        ]

    projected, fisher = summed("projected"), summed("fisher")
    return {
        DISTANCE: projected,
        "roots add up": [[math.sqrt(value) for value in values] for values in projected],
        "geometric mean": [
            [math.sqrt(a * b) for a, b in zip(*values, strict=True)]
            for values in zip(projected, fisher, strict=True)
        ],
    }


def total(harm: Harm, allocation: Allocation) -> float:
    """Of a whole allocation."""
    return math.fsum(values[i] for values, i in zip(harm, allocation, strict=True))
