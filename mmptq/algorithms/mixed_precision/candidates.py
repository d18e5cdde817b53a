"""Allocations that are worth measuring: the program's best, and uniform ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from mmptq.algorithms.mixed_precision.costs import Costs
from mmptq.algorithms.mixed_precision.groups import Allocation, uniform
from mmptq.algorithms.mixed_precision.harm import Harm
from mmptq.algorithms.mixed_precision.program import HARM, Program
from mmptq.errors import ConfigError

# Share of the groups in which a further allocation differs from those before it.
_APART = 0.05


@dataclass(frozen=True)
class Candidate:
    """An allocation.

    Args:
        label: How it was found.
        allocation: The index of a choice for each group.
        loss: By which it is compared with others, measured.
        drop: Of the main metric, in the table's points.
    """

    label: str
    allocation: Allocation
    loss: float | None = None
    drop: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Candidate":
        """Inverse of :meth:`to_dict`."""
        return cls(**{**values, "allocation": tuple(values["allocation"])})


def candidates(
    costs: Costs, harms: Mapping[str, Harm], limits: Mapping[str, float], count: int, seconds: float
) -> list[Candidate]:
    """Allocations within limits, each once.

    By each kind of harm the best, then others apart from these, and the uniform ones that no other
    has more bits than.

    Args:
        costs: Of the groups.
        harms: Several kinds (:mod:`mmptq.algorithms.mixed_precision.harm`); the first also gives
            the ones apart.
        limits: Upper limits by cost.
        count: How many the programs may give.
        seconds: Time limit of each program.

    Raises:
        ConfigError: Each limit alone can be kept, but not all together.
        MmptqError: No allocation was found in time.
    """
    programs = {kind: Program(costs, harm) for kind, harm in harms.items()}
    found: list[Candidate] = []
    for kind, program in programs.items():
        solved = program.solve(HARM, limits, seconds=seconds)
        if solved is None:
            wanted = ", ".join(f"{key} = {value:.4g}" for key, value in limits.items())
            raise ConfigError(f"MixedPrecision: no bit-widths keep {wanted} at once; raise one")
        found.append(Candidate(kind, solved))
    first = next(iter(programs.values()))
    apart = max(round(_APART * sum(not group.fixed for group in costs.groups)), 1)
    while len(found) < count:
        others = [candidate.allocation for candidate in found]
        solved = first.solve(HARM, limits, others, apart, seconds)
        if solved is None:
            break
        found.append(Candidate(f"another, {len(found) + 1 - len(programs)}", solved))
    unique: dict[Allocation, Candidate] = {}
    for candidate in (*found, *uniform_candidates(costs, limits)):
        unique.setdefault(candidate.allocation, candidate)
    return list(unique.values())


def uniform_candidates(costs: Costs, limits: Mapping[str, float]) -> list[Candidate]:
    """Uniform allocations within limits, without those that have no more bits than another."""
    choices = [costs.choices(which) or (8.0,) for which in ("weight", "act")]
    fit = []
    for pair in product(*choices):
        cost = costs(uniform(costs.groups, *pair))
        if all(cost[key] <= limit for key, limit in limits.items()):
            fit.append(pair)
    best = [a for a in fit if not any(b != a and b[0] >= a[0] and b[1] >= a[1] for b in fit)]
    return [Candidate(f"W{w:g}A{a:g}", uniform(costs.groups, w, a)) for w, a in best]
