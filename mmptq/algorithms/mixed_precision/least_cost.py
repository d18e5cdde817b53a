"""The least cost with which the metric falls by no more than a limit."""

import math

from mmptq.algorithms.mixed_precision.candidates import Candidate
from mmptq.algorithms.mixed_precision.costs import Costs
from mmptq.algorithms.mixed_precision.groups import Allocation
from mmptq.algorithms.mixed_precision.harm import Harm, total
from mmptq.algorithms.mixed_precision.measure import Measure
from mmptq.algorithms.mixed_precision.program import HARM, Program
from mmptq.errors import MmptqError

_LEAST_HARM = 1e-12  # has a logarithm


def least_cost(
    costs: Costs,
    harm: Harm,
    minimise: str,
    max_drop: float,
    drop: Measure,
    evaluations: int,
    seconds: float,
) -> list[Candidate]:
    """Bisect the harm that is allowed; all that was measured, the best last.

    Args:
        costs: Of the groups.
        harm: Estimated, of each choice.
        minimise: ``'size_mb'`` or ``'gbops'``.
        max_drop: In the metric's points.
        drop: Measures how far the metric is below the float model's.
        evaluations: At most; two or more.
        seconds: Time limit of each program.

    Raises:
        MmptqError: With the most bits there are to choose the metric falls by more.
    """
    most = tuple(len(group.choices) - 1 for group in costs.groups)
    found = [Candidate("the most bits", most, drop=drop(most))]
    if not _holds(found[0], max_drop):
        raise MmptqError(
            f"MixedPrecision.max_drop = {max_drop:g}: with the most bits there are to choose the "
            f"metric falls by {found[0].drop:.2f} already; allow more, or more bits"
        )
    program, fewest = Program(costs, harm), (0,) * len(most)
    low, high = (math.log(max(total(harm, a), _LEAST_HARM)) for a in (most, fewest))
    known: dict[Allocation, Candidate] = {most: found[0]}
    # Harm may move a little before another allocation comes of it.
    for _ in range(4 * evaluations):
        if len(found) == evaluations:
            break
        allowed = (low + high) / 2
        allocation = program.solve(minimise, {HARM: math.exp(allowed)}, seconds=seconds)
        assert allocation is not None  # the most bits keep every limit above their own harm
        if allocation not in known:
            label = f"harm {math.exp(allowed):.3g}"
            known[allocation] = Candidate(label, allocation, drop=drop(allocation))
            found.append(known[allocation])
        if _holds(known[allocation], max_drop):
            low = allowed
        else:
            high = allowed
    good = [c for c in found if _holds(c, max_drop)]
    best = min(good, key=lambda c: costs(c.allocation)[minimise])
    return [*(c for c in found if c is not best), best]


def _holds(candidate: Candidate, max_drop: float) -> bool:
    assert candidate.drop is not None
    return candidate.drop <= max_drop
