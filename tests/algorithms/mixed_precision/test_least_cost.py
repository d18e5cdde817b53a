"""The least cost under a limit of the metric, on made-up metrics."""

import random
from collections.abc import Callable

import pytest

from mmptq.algorithms.mixed_precision.costs import GBOPS, SIZE, Costs
from mmptq.algorithms.mixed_precision.groups import Allocation, Group
from mmptq.algorithms.mixed_precision.harm import Harm, total
from mmptq.algorithms.mixed_precision.least_cost import least_cost
from mmptq.errors import MmptqError

SCALE = 500.0


@pytest.fixture
def costs() -> Costs:
    groups = [Group("weight", (f"w{i}",), (f"w{i}",), "stem", (2.0, 4.0, 8.0)) for i in range(30)]
    sizes = tuple(0.1 + 0.01 * i for i in range(30))
    return Costs(tuple(groups), {SIZE: 0.0, GBOPS: 0.0}, sizes, (1.0,) * 30, {})


@pytest.fixture
def harm(costs: Costs) -> Harm:
    draw = random.Random(0)
    return [[draw.random() * 4.0**-bits for bits in group.choices] for group in costs.groups]


class Metric:
    """Falls as the harm grows."""

    def __init__(self, harm: Harm) -> None:
        self.asked: list[Allocation] = []
        self._drop: Callable[[Allocation], float] = lambda a: SCALE * total(harm, a)

    def __call__(self, allocation: Allocation) -> float:
        self.asked.append(allocation)
        return self._drop(allocation)


def test_it_comes_near_the_limit_from_below(costs: Costs, harm: Harm) -> None:
    metric = Metric(harm)
    found = least_cost(costs, harm, SIZE, 10.0, metric, evaluations=10, seconds=60.0)
    best = found[-1]
    assert len(metric.asked) == len(set(metric.asked)) == len(found) <= 10
    assert best.drop is not None and 7.0 < best.drop <= 10.0
    good = [c for c in found if c.drop is not None and c.drop <= 10.0]
    assert costs(best.allocation)[SIZE] == min(costs(c.allocation)[SIZE] for c in good)
    assert costs(best.allocation)[SIZE] < costs(found[0].allocation)[SIZE]


def test_what_is_easy_gets_the_fewest_bits(costs: Costs, harm: Harm) -> None:
    found = least_cost(costs, harm, GBOPS, 1e6, Metric(harm), evaluations=12, seconds=60.0)
    assert costs(found[-1].allocation)[GBOPS] < 1.1 * costs.least()[GBOPS]


def test_the_most_bits_lose_too_much(costs: Costs, harm: Harm) -> None:
    with pytest.raises(MmptqError, match=r"max_drop = 0: with the most bits .* falls by 0\.\d+"):
        least_cost(costs, harm, SIZE, 0.0, lambda a: 0.1, evaluations=8, seconds=60.0)


def test_nothing_but_the_most_bits_will_do(costs: Costs, harm: Harm) -> None:
    most = tuple(2 for _ in costs.groups)
    found = least_cost(
        costs, harm, SIZE, 0.5, lambda a: 0.0 if a == most else 1.0, evaluations=4, seconds=60.0
    )
    assert found[-1].allocation == most and len(found) == 4
