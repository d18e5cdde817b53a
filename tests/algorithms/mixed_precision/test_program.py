"""The integer program against trying everything."""

import logging
import math
import random
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from mmptq.algorithms.mixed_precision import program as module
from mmptq.algorithms.mixed_precision.costs import GBOPS, SIZE, Costs
from mmptq.algorithms.mixed_precision.groups import Allocation, Group
from mmptq.algorithms.mixed_precision.harm import Harm, total
from mmptq.algorithms.mixed_precision.program import HARM, Program
from mmptq.errors import MmptqError, NumericalError


def problem(seed: int) -> tuple[Costs, Harm]:
    """Three weights and two activations, a product of an activation with itself, one fixed."""
    draw = random.Random(seed)
    weight, act = (2.0, 4.0, 8.0), (4.0, 8.0)
    groups = [Group("weight", (f"w{i}",), (f"w{i}",), "stem", weight) for i in range(3)]
    groups += [Group("act", (f"a{i}",), (f"a{i}",), "stem", act) for i in range(2)]
    groups.append(Group("weight", ("fixed",), ("fixed",), "stem", (6.0,)))
    pairs = {(0, 3): 1.0, (1, 3): 2.5, (2, 4): 0.7, (3, 4): 0.3, (4, 4): 0.4, (4, 5): 0.2}
    costs = Costs(
        tuple(groups), {SIZE: 0.5, GBOPS: 10.0}, (0.1, 0.3, 0.05, 0.0, 0.0, 0.2),
        (0.0, 0.0, 1.5, 0.0, 2.0, 0.0), pairs,
    )  # fmt: skip
    harm = [[draw.random() * 4.0**-bits for bits in group.choices] for group in groups]
    return costs, harm


def everything(costs: Costs) -> Iterator[Allocation]:
    return product(*(range(len(group.choices)) for group in costs.groups))


def value(costs: Costs, harm: Harm, allocation: Allocation) -> dict[str, float]:
    return {HARM: total(harm, allocation), **costs(allocation)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("minimise", "limited"),
    [(HARM, (SIZE,)), (HARM, (GBOPS,)), (HARM, (SIZE, GBOPS)), (GBOPS, (HARM,)), (SIZE, (HARM,))],
)
def test_it_is_the_best_of_all(seed: int, minimise: str, limited: tuple[str, ...]) -> None:
    costs, harm = problem(seed)
    every = [value(costs, harm, a) for a in everything(costs)]
    for share in (0.05, 0.3, 0.7):
        limits = {}
        for key in limited:
            values = sorted(v[key] for v in every)
            limits[key] = values[round(share * (len(values) - 1))] * (1 + 1e-9)
        good = [v[minimise] for v in every if all(v[key] <= limits[key] for key in limited)]
        found = Program(costs, harm).solve(minimise, limits)
        if not good:
            assert found is None
            continue
        assert found is not None
        reached = value(costs, harm, found)
        assert reached[minimise] == pytest.approx(min(good), rel=1e-4)
        assert all(reached[key] <= limits[key] * (1 + 1e-6) for key in limited)


def test_further_ones_keep_their_distance() -> None:
    costs, harm = problem(0)
    program, found = Program(costs, harm), list[Allocation]()
    for _ in range(4):
        solved = program.solve(HARM, {SIZE: 3.5}, found, 2)
        assert solved is not None
        assert all(sum(a != b for a, b in zip(solved, old, strict=True)) >= 2 for old in found)
        found.append(solved)
    values = [total(harm, a) for a in found]
    assert values[0] <= min(values[1:]) + 1e-12


def test_impossible_limits_give_nothing() -> None:
    costs, harm = problem(0)
    assert Program(costs, harm).solve(HARM, {SIZE: costs.least()[SIZE] * 0.99}) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_named(bad: float) -> None:
    costs, harm = problem(0)
    harm[2][1] = bad  # type: ignore[index]
    with pytest.raises(NumericalError, match=r"w2\.weight: its sensitivity"):
        Program(costs, harm)


def test_no_harm_at_all_is_no_reason_to_fail() -> None:
    costs, harm = problem(0)
    zero = [[0.0] * len(values) for values in harm]
    assert Program(costs, zero).solve(HARM, {SIZE: 3.5}) is not None


class Stopped:
    """What scipy returns when the time is up."""

    def __init__(self, x: Any, gap: float | None) -> None:
        self.status, self.x, self.mip_gap, self.message = 1, x, gap, "Time limit reached."


def test_time_is_up_before_anything_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "milp", lambda *args, **kwargs: Stopped(None, None))
    with pytest.raises(MmptqError, match=r"no allocation was found in time_limit = 3 s"):
        Program(*problem(0)).solve(HARM, {SIZE: 3.5}, seconds=3.0)


def test_time_is_up_before_the_best_is_proved(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    costs, harm = problem(0)
    best = Program(costs, harm).solve(HARM, {SIZE: 3.5})
    solve = module.milp

    def stopped(*args: Any, **kwargs: Any) -> Stopped:
        assert kwargs["options"]["time_limit"] == 3.0
        return Stopped(solve(*args, **kwargs).x, 0.2)

    monkeypatch.setattr(module, "milp", stopped)
    logger = logging.getLogger("mixed")
    monkeypatch.setattr(
        module, "print_log", lambda text, logger, level: logging.getLogger("mixed").log(level, text)
    )
    with caplog.at_level(logging.WARNING, logger.name):
        assert Program(costs, harm).solve(HARM, {SIZE: 3.5}, seconds=3.0) == best
    assert "at most 20 % above it" in caplog.text
