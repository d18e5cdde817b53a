"""The loss over steps: which steps, the same loss as the model's, surfaces and Hessians of it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from mmptq.algorithms.lapq.search_space import SearchSpace
from mmptq.analysis import ModelLoss, measure_step_hessian, measure_step_surface
from mmptq.analysis.step_loss import StepLoss, choose_pair, choose_steps, mean_step
from mmptq.analysis.surface import lowest, measure_surface
from mmptq.errors import ConfigError
from tests.calibration_support import MakeContext, make_context  # noqa: F401

TASK = {"type": "TaskLoss"}
PAIR = ("backbone.layer1.0.conv1.act", "backbone.layer1.0.conv2.weight")


def track(items: Any, name: str, total: int | None = None) -> Iterator[Any]:
    yield from items


def test_surface_is_the_function_on_the_grid_and_its_lowest_point() -> None:
    def function(point: Sequence[float]) -> float:
        x, y = point
        return math.nan if x > 2.5 else (x - 2.0) ** 2 + y

    first, second = [1.0, 2.0, 3.0], [0.0, -1.0]
    values = measure_surface(function, first, second, track, "t")
    assert values[:2].tolist() == [[1.0, 0.0], [0.0, -1.0]]
    assert np.isnan(values[2]).all()
    assert lowest(first, second, values) == (2.0, -1.0, -1.0)
    assert all(map(math.isnan, lowest(first, second, np.full((3, 2), math.nan))))


def test_choice_of_steps(make_context: MakeContext) -> None:  # noqa: F811
    steps = SearchSpace(make_context("retinanet").model).variables
    acts = choose_steps(steps, "backbone.layer1.*.act", None)
    assert [s.name for s in acts] == [
        s.name for s in steps if s.name.startswith("backbone.layer1.") and s.name.endswith(".act")
    ]
    few = choose_steps(steps, "*", 4)
    assert [few[0].name, few[-1].name] == [steps[0].name, steps[-1].name]
    assert len({s.name for s in few}) == 4
    # The image is read in 8 bits: the first two activations in 4 bits are the neighbours.
    assert [s.name for s in choose_pair(steps, None)] == [
        "backbone.layer1.0.conv1.act",
        "backbone.layer1.0.conv2.act",
    ]
    # In the order of the forward pass, whatever the order of the patterns.
    assert [s.name for s in choose_pair(steps, PAIR[::-1])] == list(PAIR)
    with pytest.raises(ConfigError, match=r"'nothing\*'; there are .* such as backbone.conv1"):
        choose_steps(steps, "nothing*", None)
    with pytest.raises(ConfigError, match="two different steps, found backbone.conv1.act, back"):
        choose_pair(steps, ["backbone.conv1.act"] * 2)


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_loss_is_that_of_the_model_with_multiplied_steps(
    family: str,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context(family)
    steps = choose_pair(SearchSpace(context.model).variables, PAIR)
    scales = [step.quantizers[0].scale for step in steps]
    starts = [scale.clone() for scale in scales]
    assert mean_step(steps[1]) == pytest.approx(float(starts[1].mean()))
    function, plain = StepLoss(context, steps, TASK, "a.jsonl"), ModelLoss(context, TASK)
    for point in ((1.0, 1.0), (0.7, 1.0), (0.7, 1.3)):
        found = function(point)
        for scale, start, multiplier in zip(scales, starts, point, strict=True):
            assert torch.equal(scale, start * multiplier)
        assert found == plain()
    function.close()
    assert all(torch.equal(a, b) for a, b in zip(scales, starts, strict=True))


def test_step_surface(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1)
    found = measure_step_surface(context, PAIR, [0.5, 1.0, 2.0], TASK, "surface")
    assert found["names"] == list(PAIR)
    assert found["loss"][1][1] == found["at_mmse"]
    assert found["least"] == min(min(row) for row in found["loss"])
    # p = 2 is where the multipliers count from; a larger p clips less.
    for axis in (0, 1):
        assert found["lp"]["2"][axis] == pytest.approx(found["steps"][axis][1])
        assert found["lp"]["4"][axis] > found["lp"]["2"][axis]


def test_step_hessian_and_its_raw_curvature(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1)
    found = measure_step_hessian(context, "backbone.layer1.0.*", 3, 0.1, TASK, "hessian")
    h, steps = np.array(found["hessian"]), np.array(found["steps"])
    assert h.shape == (3, 3) and np.array_equal(h, h.T) and len(found["names"]) == 3
    # By hand, from losses measured anew.
    context = make_context("retinanet", images=1, folder="b")
    chosen = choose_steps(SearchSpace(context.model).variables, "backbone.layer1.0.*", 3)
    f = StepLoss(context, chosen, TASK, "b.jsonl")
    assert found["loss"] == f((1, 1, 1))
    mixed = f((1.1, 1.1, 1)) - f((1.1, 0.9, 1)) - f((0.9, 1.1, 1)) + f((0.9, 0.9, 1))
    assert h[0, 1] == pytest.approx(mixed / 0.04)
    raw = h / np.outer(steps, steps)
    slope = np.array(found["gradient"]) / steps
    curvature = np.linalg.det(raw) / (slope @ slope + 1.0) ** 2
    written = found["K"]["0.1"]["raw"]
    assert written["sign"] * 10 ** written["log10"] == pytest.approx(curvature, rel=1e-6)
    assert set(found["K"]) == {"0.1", "0.2"}
