"""benchmarks/comparison/estimate.py: how long a cell may take."""

import pytest

DONE = {
    "demo_retinanet/float": {"cell_seconds": 10.0},
    "yolox_nano/float": {"cell_seconds": 40.0},
    "demo_retinanet/mmse/W4A4/seed0": {"cell_seconds": 20.0},
    "demo_retinanet/mmse/W8A8/seed0": {"cell_seconds": 30.0},
    "demo_retinanet/bitshrink@300/W4A4/seed0": {"cell_seconds": 60.0, "iters": 300},
}


@pytest.mark.parametrize(
    ("model", "method", "seconds"),
    [
        ("demo_retinanet", "mmse", 25.0),  # the mean
        ("demo_retinanet", "bitshrink@300", 60.0),
        ("demo_retinanet", "bitshrink@1000:stops=1", 200.0),  # in proportion to the iterations
        ("demo_retinanet", "bitshrink", 60.0),  # as many as the recipe has: not known
        ("yolox_nano", "mmse", 100.0),  # in proportion to the float models
        ("yolox_nano", "gptq", None),
        ("resnet20", "mmse", None),
    ],
)
def test_a_cell_takes_as_long_as_its_like(model, method, seconds):
    from comparison.columns import find_columns
    from comparison.estimate import Estimate
    from comparison.plan import Cell
    from comparison.specs import find_specs

    cell = Cell(model, find_specs([method])[0], find_columns(["W2A4"])[0])
    assert Estimate(DONE)(cell) == seconds


def test_a_float_model_is_evaluated_once():
    from comparison.estimate import Estimate
    from comparison.plan import Cell

    assert Estimate(DONE)(Cell("yolox_nano")) == 40.0
    assert Estimate(DONE)(Cell("resnet20")) is None
