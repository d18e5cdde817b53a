"""Allocations worth measuring."""

import random

import pytest

from mmptq.algorithms.mixed_precision.candidates import (
    Candidate,
    candidates,
    uniform_candidates,
)
from mmptq.algorithms.mixed_precision.costs import GBOPS, SIZE, Costs
from mmptq.algorithms.mixed_precision.groups import Group, uniform
from mmptq.algorithms.mixed_precision.harm import total
from mmptq.errors import ConfigError


@pytest.fixture
def costs() -> Costs:
    """Twenty layers in a row."""
    groups = [Group("weight", (f"w{i}",), (f"w{i}",), "stem", (2.0, 4.0, 8.0)) for i in range(20)]
    groups += [Group("act", (f"a{i}",), (f"a{i}",), "stem", (4.0, 8.0)) for i in range(20)]
    pairs = {(i, i + 20): 1.0 + i for i in range(20)}
    sizes = (*(0.1 for _ in range(20)), *(0.0 for _ in range(20)))
    return Costs(tuple(groups), {SIZE: 0.0, GBOPS: 0.0}, sizes, (0.0,) * 40, pairs)


def harm_of(costs: Costs, seed: int) -> list[list[float]]:
    draw = random.Random(seed)
    weights = [10.0 ** draw.uniform(-3, 0) for _ in costs.groups]
    pairs = zip(weights, costs.groups, strict=True)
    return [[weight * 4.0**-bits for bits in group.choices] for weight, group in pairs]


def test_each_kind_gives_its_best_and_uniform_ones_are_there(costs: Costs) -> None:
    harms = {"a": harm_of(costs, 0), "b": harm_of(costs, 1)}
    limits = {SIZE: costs(uniform(costs.groups, 4, 4))[SIZE] * (1 + 1e-9)}
    found = candidates(costs, harms, limits, count=4, seconds=60.0)
    assert [c.label for c in found] == ["a", "b", "another, 1", "another, 2", "W4A8"]
    assert len({c.allocation for c in found}) == 5
    assert all(costs(c.allocation)[SIZE] <= limits[SIZE] + 1e-9 for c in found)
    for kind, harm in harms.items():
        least = min(total(harm, c.allocation) for c in found)
        (own,) = (c for c in found if c.label == kind)
        assert total(harm, own.allocation) == pytest.approx(least)


def test_uniform_ones_that_another_beats_are_left_out(costs: Costs) -> None:
    limits = {GBOPS: costs(uniform(costs.groups, 4, 4))[GBOPS] * (1 + 1e-9)}
    assert [c.label for c in uniform_candidates(costs, limits)] == ["W2A8", "W4A4"]
    assert [c.label for c in uniform_candidates(costs, {})] == ["W8A8"]


def test_budgets_that_exclude_each_other(costs: Costs) -> None:
    limits = {SIZE: costs.least()[SIZE], GBOPS: costs.least()[GBOPS] * 0.99}
    with pytest.raises(ConfigError, match="no bit-widths keep size_mb = .* at once"):
        candidates(costs, {"a": harm_of(costs, 0)}, limits, count=1, seconds=60.0)


def test_they_are_kept_as_plain_values() -> None:
    candidate = Candidate("a", (0, 2, 1), loss=0.5)
    assert Candidate.from_dict(candidate.to_dict()) == candidate
