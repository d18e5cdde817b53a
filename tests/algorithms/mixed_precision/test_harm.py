"""How estimates add up."""

import math

import pytest

from mmptq.algorithms.mixed_precision.groups import Group
from mmptq.algorithms.mixed_precision.harm import DISTANCE, harms_of, total
from mmptq.algorithms.sensitivity import Estimate


def estimate(fisher: float, projected: float) -> Estimate:
    return Estimate(1.0, 1.0, 1.0, fisher, math.nan, projected, math.nan)


def test_members_of_a_group_add_up_by_hand() -> None:
    groups = [
        Group("weight", ("w",), ("w",), "stem", (2.0, 4.0)),
        Group("act", ("a:0", "a:1"), ("a",), "stem", (4.0,)),
    ]
    estimates = {
        "w": [estimate(1.0, 4.0), estimate(4.0, 0.25)],
        "a:0": [estimate(1.0, 0.5)],
        "a:1": [estimate(3.0, 8.5)],
    }
    harms = harms_of(groups, estimates)
    assert harms[DISTANCE] == [[4.0, 0.25], [9.0]]
    assert harms["roots add up"] == [[2.0, 0.5], [3.0]]
    assert harms["geometric mean"] == [[2.0, 1.0], [pytest.approx(6.0)]]
    assert total(harms[DISTANCE], (1, 0)) == 9.25
