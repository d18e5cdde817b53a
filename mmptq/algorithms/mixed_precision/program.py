r"""The integer program: one choice a group, the least of one cost under limits of the others.

Each group has a variable in {0, 1} for each choice, of which one is 1. Bit operations have products
of two such variables; each pair :math:`x_{gi} x_{hj}` gets a variable :math:`y_{gihj} \ge 0` with
:math:`\sum_j y_{gihj} = x_{gi}` and :math:`\sum_i y_{gihj} = x_{hj}`, which make it their product
(reformulation-linearization, Sherali and Adams 1990). HiGHS solves it
(:func:`scipy.optimize.milp`).
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from mmengine.logging import print_log
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from mmptq.algorithms.mixed_precision.costs import GBOPS, SIZE, Costs
from mmptq.algorithms.mixed_precision.groups import Allocation
from mmptq.algorithms.mixed_precision.harm import Harm
from mmptq.errors import MmptqError, NumericalError

HARM = "harm"  # what the bit-widths do to the outputs, beside what they cost

# Harm that is so much more than the best possible is as bad as any: a solver's tolerances are
# relative to the largest numbers.
_WORST = 1e7

_INFEASIBLE = 2  # scipy's status
_GAP = 0.01  # a share of the best value: what is nearer to it is the best for all we know


class Program:
    """Allocations under limits.

    Args:
        costs: Of the groups.
        harm: Of each group, that of each choice; they add up.

    Raises:
        NumericalError: Harm that is not finite; names the group.
    """

    def __init__(self, costs: Costs, harm: Harm) -> None:
        for group, values in zip(costs.groups, harm, strict=True):
            if not all(math.isfinite(value) for value in values):
                raise NumericalError(
                    f"{group.name}: its sensitivity is {list(values)} at {list(group.choices)} "
                    "bits; check the float weights and the calibration images"
                )
        self._costs = costs
        self._blocks, self._num_choices = _numbered([len(g.choices) for g in costs.groups])
        best = math.fsum(min(values) for values in harm)
        self._unit = best if best > 0 else 1.0
        self._harm = [[min(value / self._unit, _WORST) for value in values] for values in harm]

    def solve(
        self,
        minimise: str,
        limits: Mapping[str, float],
        away_from: Sequence[Allocation] = (),
        distance: int = 1,
        seconds: float = 60.0,
    ) -> Allocation | None:
        """The best allocation; ``None`` where none keeps the limits.

        Warns where the time was too short to prove it the best.

        Args:
            minimise: ``'harm'``, ``'size_mb'`` or ``'gbops'``.
            limits: Upper limits of the others.
            away_from: Allocations from which it must differ.
            distance: In at least so many groups.
            seconds: Time limit.

        Raises:
            MmptqError: No allocation was found in time.
        """
        pairs = self._costs.pairs if GBOPS in (minimise, *limits) else {}
        rows, column = self._product_rows(pairs)
        rows += [_Row(dict.fromkeys(block, 1.0), 1.0, 1.0) for block in self._blocks]
        rows += [self._limit(key, limit, pairs) for key, limit in limits.items()]
        for other in away_from:
            chosen = dict.fromkeys((self._blocks[g][i] for g, i in enumerate(other)), 1.0)
            rows.append(_Row(chosen, -math.inf, len(other) - distance + 0.5))
        goal = np.zeros(column)
        for j, value in self._row(minimise, pairs)[0].items():
            goal[j] = value
        found = milp(
            goal / (goal.max() or 1.0),
            integrality=(np.arange(column) < self._num_choices).astype(int),
            bounds=Bounds(0.0, 1.0),
            constraints=_constraints(rows, column),
            options={"time_limit": seconds},
        )
        if found.status == _INFEASIBLE:
            return None
        if found.x is None:
            raise MmptqError(
                f"MixedPrecision: no allocation was found in time_limit = {seconds:g} s "
                f"({found.message}); allow more, or fewer bit-widths to choose from"
            )
        if found.mip_gap > _GAP:
            print_log(
                f"MixedPrecision: time_limit = {seconds:g} s was too short to prove an allocation "
                f"the best; this one is at most {100 * found.mip_gap:.0f} % above it",
                logger="current",
                level=logging.WARNING,
            )
        return tuple(max(range(len(b)), key=lambda i: found.x[b[i]]) for b in self._blocks)

    def _limit(self, key: str, limit: float, pairs: Mapping[tuple[int, int], float]) -> "_Row":
        coefficients, constant = self._row(key, pairs)
        left = (limit / self._unit if key == HARM else limit) - constant
        scale = 1.0 / (max(coefficients.values()) or 1.0)
        return _Row(
            {j: value * scale for j, value in coefficients.items()}, -math.inf, left * scale
        )

    def _row(
        self, key: str, pairs: Mapping[tuple[int, int], float]
    ) -> tuple[dict[int, float], float]:
        """Coefficients of a cost over the variables, and its constant."""
        groups, costs, row = self._costs.groups, self._costs, dict[int, float]()
        for g, group in enumerate(groups):
            for i, bits in enumerate(group.choices):
                values = {SIZE: costs.size[g] * bits, GBOPS: costs.linear[g] * bits}
                row[self._blocks[g][i]] = self._harm[g][i] if key == HARM else values[key]
        if key == GBOPS:
            column = self._num_choices
            for (g, h), macs in pairs.items():
                for a, b in product(groups[g].choices, groups[h].choices):
                    row[column] = macs * a * b
                    column += 1
        return row, 0.0 if key == HARM else costs.constant[key]

    def _product_rows(self, pairs: Mapping[tuple[int, int], float]) -> tuple[list["_Row"], int]:
        """What makes the variables of pairs products, and the number of columns.

        They are numbered behind the choices, pair after pair, the second group's choice fastest. A
        group with itself needs no other rows: both sums being its choice, y is the choice's square.
        """
        rows: list[_Row] = []
        column = self._num_choices
        for g, h in pairs:
            first, second = self._blocks[g], self._blocks[h]
            y = np.arange(column, column + len(first) * len(second)).reshape(len(first), -1)
            column += y.size
            for sums, block in ((y, first), (y.T, second)):
                for parts, whole in zip(sums.tolist(), block, strict=True):
                    rows.append(_Row({**dict.fromkeys(parts, 1.0), whole: -1.0}, 0.0, 0.0))
        return rows, column


@dataclass(frozen=True)
class _Row:
    """``low <= sum of value * variable <= high``, by column."""

    values: dict[int, float]
    low: float
    high: float


def _numbered(counts: Sequence[int]) -> tuple[list[list[int]], int]:
    """Columns of each group's choices, and how many there are."""
    ends = np.cumsum(counts).tolist()
    return [list(range(end - n, end)) for end, n in zip(ends, counts, strict=True)], ends[-1]


def _constraints(rows: Sequence[_Row], columns: int) -> LinearConstraint:
    entries = [(i, j, value) for i, row in enumerate(rows) for j, value in row.values.items()]
    i, j, values = (list(part) for part in zip(*entries, strict=True))
    matrix = coo_array((values, (i, j)), shape=(len(rows), columns)).tocsr()
    return LinearConstraint(matrix, [row.low for row in rows], [row.high for row in rows])
