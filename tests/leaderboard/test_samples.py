import math
import statistics

import pytest

from mmptq.evaluation import ResultRow, Results
from mmptq.leaderboard.runs import Run
from mmptq.leaderboard.samples import Sample, Spread, edge_bits, target_name
from tests.leaderboard_support import STEPS, results


def sample(row, **changes):
    data = results(**changes)
    del data["schema"]
    return Sample(Run(None, Results(**data)), row)


def test_spread_is_mean_and_sample_deviation():
    values = [58.0, 58.5, 57.1]
    found = Spread.of([*values, None, math.nan])
    assert found.mean == pytest.approx(statistics.mean(values))
    assert found.std == pytest.approx(statistics.stdev(values))
    assert Spread.of([3.0]) == Spread(3.0, None)
    assert Spread.of([None, math.nan]) is None


def test_runtime_by_field_and_by_an_older_label():
    new = sample(ResultRow("mmse in openvino", "full", 8, 8, ms=2.0, runtime="openvino"))
    old = sample(ResultRow("mmse in openvino", "full", 8, 8, ms=2.0))
    mine = sample(ResultRow("mmse in openvino", "full", 8, 8))
    other = sample(ResultRow("mmse in tensorrt", "full", 8, 8, ms=2.0, runtime="reference"))
    assert (new.method, new.runtime) == (old.method, old.runtime) == ("mmse", "openvino")
    assert (mine.method, mine.runtime) == ("mmse in openvino", "simulated")
    assert (other.method, other.runtime) == ("mmse in tensorrt", "reference")


def test_the_naive_baseline_knows_no_recipe():
    own = sample(ResultRow("mmse", "full", 4, 4))
    beside = sample(ResultRow("minmax", "full", 4, 4))
    plain = sample(ResultRow("minmax", "full", 4, 4), method="minmax", steps=[STEPS[0]])
    assert own.settings["steps"] == STEPS and "seed" not in own.settings
    assert set(beside.settings) == {"num_images", "qconfig"}
    assert "steps" in plain.settings  # somebody's own steps under that name


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        ("full", "W8A8, W8A8"),
        ("backbone_neck", "W8A32, float"),
        ("lapq_paper", "float, float"),
        ("strange", "-"),
    ],
)
def test_edge_bits_are_the_scopes(scope, wanted):
    four = {"num_bits": 4}
    assert edge_bits({"scope": scope, "weight": four, "act": four}) == wanted


def test_edge_bits_of_what_is_no_qconfig():
    assert edge_bits({"weight": 3}) == edge_bits({"overrides": 4}) == "-"
    override = {"pattern": "x", "weight": None, "act": None}
    assert edge_bits({"overrides": [override]}).endswith(" *")


def test_target_with_its_switches():
    assert target_name({}) == "-"
    assert target_name({"target": "openvino"}) == "openvino"
    options = {"type": "onnxruntime", "quantize_outputs": True, "reduce_range": False}
    assert target_name({"target": options}) == "onnxruntime +quantize_outputs"
