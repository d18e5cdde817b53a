"""Costs of allocations, against the cost model of the plan that they make."""

import random

import pytest

from mmptq.algorithms.mixed_precision.costs import GBOPS, SIZE
from mmptq.algorithms.mixed_precision.groups import allocated_plan
from mmptq.evaluation import model_cost
from tests.calibration_support import W4A4, WITH_OUTPUTS, MakeContext, make_context  # noqa: F401
from tests.mixed_support import ACT_BITS, WEIGHT_BITS, costs_of, mixed_context

PARTLY_FLOAT = {
    **W4A4,
    "overrides": [
        {"pattern": "backbone.layer2.*", "act": None},
        {"pattern": "neck.*", "weight": None},
    ],
}


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
@pytest.mark.parametrize("qconfig", [W4A4, PARTLY_FLOAT, WITH_OUTPUTS])
def test_they_are_those_of_the_plan(
    make_context: MakeContext,  # noqa: F811
    name: str,
    qconfig: dict[str, object],
) -> None:
    context = mixed_context(make_context, name, qconfig)
    costs, plan, profile = costs_of(context), context.model.plan, context.profile
    assert plan is not None and profile is not None
    draw = random.Random(0)
    for _ in range(5):
        allocation = tuple(draw.randrange(len(group.choices)) for group in costs.groups)
        wanted = model_cost(profile, allocated_plan(plan, costs.groups, allocation))
        found = costs(allocation)
        assert found[SIZE] == pytest.approx(wanted.size_mb, rel=1e-9)
        assert found[GBOPS] == pytest.approx(wanted.gbops, rel=1e-9)
        assert all(found[key] >= costs.least()[key] for key in found)


def test_choices_are_those_of_what_is_free(make_context: MakeContext) -> None:  # noqa: F811
    costs = costs_of(mixed_context(make_context))
    assert costs.choices("weight") == WEIGHT_BITS and costs.choices("act") == ACT_BITS
