"""Budgets: numbers and names, and what they must not be."""

from typing import Any

import pytest

from mmptq.algorithms.mixed_precision.budget import Budget
from mmptq.algorithms.mixed_precision.costs import GBOPS, SIZE
from mmptq.algorithms.mixed_precision.groups import uniform
from mmptq.errors import ConfigError
from tests.calibration_support import MakeContext, make_context  # noqa: F401
from tests.mixed_support import costs_of, mixed_context


def test_bits_mean_what_the_uniform_model_costs(make_context: MakeContext) -> None:  # noqa: F811
    costs = costs_of(mixed_context(make_context))
    wanted = costs(uniform(costs.groups, 4, 8))
    limits = Budget(size_mb="W4A8", gbops="w4a8").limits(costs)
    assert limits == pytest.approx(wanted)
    assert all(limits[key] >= wanted[key] for key in wanted)
    assert Budget(gbops=7).limits(costs) == {GBOPS: pytest.approx(7.0)}
    assert not Budget() and Budget(size_mb=1)


@pytest.mark.parametrize("key", [SIZE, GBOPS])
def test_too_little_names_the_least(make_context: MakeContext, key: str) -> None:  # noqa: F811
    costs = costs_of(mixed_context(make_context))
    least = costs.least()[key]
    assert Budget(**{key: least}).limits(costs)
    with pytest.raises(ConfigError, match=f"least possible is {least:.4g} "):
        Budget(**{key: least * 0.9}).limits(costs)


def test_bits_that_cannot_be_chosen(make_context: MakeContext) -> None:  # noqa: F811
    costs = costs_of(mixed_context(make_context))
    with pytest.raises(ConfigError, match="act_bits has no 5; it has 4, 8"):
        Budget(gbops="W4A5").limits(costs)


@pytest.mark.parametrize("value", [0, -1.0, True, float("nan"), float("inf"), "4/4", "big", [1]])
def test_what_is_no_budget(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"MixedPrecision\.gbops = "):
        Budget(gbops=value)
