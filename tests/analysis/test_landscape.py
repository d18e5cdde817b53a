"""Filter normalisation, the plane of weights and what describes a landscape, by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmptq.analysis import ModelLoss, measure_landscape, symmetric_axis
from mmptq.analysis.landscape import (
    WeightPlane,
    filter_normalised,
    mean_rise,
    raggedness,
    random_directions,
    sharpness,
)
from mmptq.engine import float_form
from mmptq.models import QConfig, QuantModel, Trace, build_plan
from tests.calibration_support import W4A4, MakeContext, make_context  # noqa: F401

TASK = {"type": "TaskLoss"}


def test_filter_normalisation_by_hand() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    direction = torch.tensor([[0.0, 2.0], [5.0, 1.0], [-3.0, 4.0]])
    wanted = torch.tensor([[0.0, 5.0], [0.0, 0.0], [-0.6, 0.8]])
    assert torch.allclose(filter_normalised(direction, weight), wanted)
    as_filters = filter_normalised(direction.view(3, 2, 1, 1), weight.view(3, 2, 1, 1))
    assert torch.equal(as_filters.view(3, 2), filter_normalised(direction, weight))


def test_directions_are_as_long_as_the_weights_and_follow_the_seed() -> None:
    weights = {"b": torch.randn(4, 3, 3, 3), "a": torch.randn(5, 7)}
    first, second = random_directions(weights, seed=3)
    for direction in (first, second):
        for name, weight in weights.items():
            norms = direction[name].flatten(1).norm(dim=1)
            assert torch.allclose(norms, weight.flatten(1).norm(dim=1))
    assert not torch.equal(first["a"], second["a"])
    shuffled = random_directions(dict(reversed(weights.items())), seed=3)
    assert torch.equal(shuffled[1]["b"], second["b"])
    assert not torch.equal(random_directions(weights, seed=4)[0]["a"], first["a"])


def test_filters_of_a_transposed_convolution_are_its_output_channels() -> None:
    net = torch.nn.Sequential(torch.nn.ConvTranspose2d(3, 4, 2))
    plan = build_plan(net, Trace(calls={"0": [0]}), QConfig.parse(W4A4))
    model = QuantModel(net, "net")
    model.prepare(plan)
    before = net[0].weight.clone()
    WeightPlane(model, seed=0).move((1.0, 0.0))
    moved = net[0].weight - before
    norms = [x.transpose(0, 1).flatten(1).norm(dim=1) for x in (moved, before)]
    torch.testing.assert_close(*norms)


def test_plane_moves_and_returns_exactly(make_context: MakeContext) -> None:  # noqa: F811
    model = make_context("retinanet").model
    before = {name: layer.weight.clone() for name, layer in model.quant_layers()}
    plane = WeightPlane(model, seed=0)
    first, second = random_directions(before, seed=0)
    plane.move((0.5, -0.25))
    for name, layer in model.quant_layers():
        wanted = before[name] + 0.5 * first[name] - 0.25 * second[name]
        assert torch.allclose(layer.weight, wanted, atol=1e-6)
    plane.move((0.0, 0.0))
    assert all(torch.equal(layer.weight, before[name]) for name, layer in model.quant_layers())


def test_axis_has_zero_in_its_middle() -> None:
    for points in (3, 7, 15):
        axis = symmetric_axis(0.3, points)
        assert len(axis) == points
        assert axis[points // 2] == 0.0
        assert axis == pytest.approx(np.linspace(-0.3, 0.3, points))


def test_measures_by_hand() -> None:
    bowl = np.array([[3.0, 2.0, 3.0], [2.0, 1.0, 2.0], [3.0, 2.0, 3.0]])
    assert sharpness(bowl) == pytest.approx(100.0 * 2.0 / 2.0)
    assert mean_rise(bowl) == pytest.approx(21.0 / 9.0 - 1.0)
    assert raggedness(bowl) == 0.0
    # One bump of height 1 in each row: up and down, 2 for a row; the columns are flat.
    assert raggedness(np.tile([0.0, 1.0, 0.0], (3, 1))) == pytest.approx((3 * 2.0 + 0.0) / 6)
    hole = bowl.copy()
    hole[0, 0] = math.nan
    assert sharpness(hole) == pytest.approx(100.0)
    assert raggedness(hole) == 0.0
    assert mean_rise(hole) == pytest.approx(18.0 / 8.0 - 1.0)


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_landscape_is_the_loss_of_models_with_moved_weights(
    family: str,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context(family)
    loss, axis = ModelLoss(context, TASK), symmetric_axis(0.2, 3)
    with float_form(context.model):
        smooth = measure_landscape(context, loss, axis, 0, "float")
        at_float = loss()
    found = measure_landscape(context, loss, axis, 0, "quantized")
    assert found["centre"] == loss()
    assert smooth["centre"] == at_float != found["centre"]
    plane = WeightPlane(context.model, 0)
    plane.move((axis[0], axis[2]))
    assert found["loss"][0][2] == loss()


def test_goes_on_from_the_log(
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = make_context("retinanet", images=1)
    axis = symmetric_axis(0.2, 3)
    wanted = measure_landscape(context, ModelLoss(context, TASK), axis, 0, "a")
    log = Path(context.store.folder) / "a.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:7], lines[7][:9]]))  # killed in the middle of a line
    again: Any = make_context("retinanet", images=1, resume=True)
    calls: list[int] = []
    loss = ModelLoss(again, TASK)
    whole = ModelLoss.__call__
    monkeypatch.setattr(ModelLoss, "__call__", lambda self: calls.append(1) or whole(self))
    assert measure_landscape(again, loss, axis, 0, "a") == wanted
    assert len(calls) == 9 - 6
