"""The L_p path: the loss by the recipe's step, the parabola by numpy, errors by brute force."""

from typing import Any

import numpy as np
import pytest
import torch

from mmptq.algorithms import LpInterpolation
from mmptq.analysis import ModelLoss, measure_lp_errors, measure_over_p
from mmptq.errors import ConfigError
from tests.calibration_support import MakeContext, make_context  # noqa: F401

TASK = {"type": "TaskLoss"}


def test_best_of_the_path_is_what_the_recipe_finds(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1, ranges=False)
    grid, loss = [2.0, 3.0, 4.0], ModelLoss(context, TASK)
    found = measure_over_p(context, grid, loss, "a.jsonl", TASK, "path", at_vertex=True)
    assert found["parabola"] == pytest.approx(np.polyfit(grid, found["values"], 2))
    other = make_context("retinanet", images=1, folder="b", ranges=False)
    LpInterpolation(num_points=3).run(other)
    measured = [*found["values"], found["vertex_value"]]
    assert ModelLoss(other, TASK)() == min(v for v in measured if v is not None)


def test_vertex_is_measured_where_the_parabola_has_one(
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context("retinanet", images=1, ranges=False)
    values = iter([5.0, 1.0, 3.0, 0.5])
    found = measure_over_p(
        context, [2.0, 3.0, 4.0], lambda: next(values), "a.jsonl", {}, "path", at_vertex=True
    )
    # Through (2, 5), (3, 1), (4, 3): 3 p^2 - 19 p + 31.
    assert found["parabola"] == pytest.approx((3.0, -19.0, 31.0))
    assert found["vertex"] == pytest.approx(19.0 / 6.0)
    assert found["vertex_value"] == 0.5

    def never() -> float:
        raise AssertionError("is in the log")

    again: Any = make_context("retinanet", images=1, ranges=False, resume=True)
    grid = [2.0, 3.0, 4.0]
    assert measure_over_p(again, grid, never, "a.jsonl", {}, "path", at_vertex=True) == found
    found = measure_over_p(again, grid, never, "a.jsonl", {}, "path")
    assert found["vertex_value"] is None


def test_errors_of_a_weight_are_those_of_its_quantizer(
    make_context: MakeContext,  # noqa: F811
) -> None:
    bits = {"num_bits": 4, "per_channel": False}
    context = make_context("retinanet", images=1, qconfig={"weight": bits, "act": {"num_bits": 4}})
    shares = [0.25, 0.5, 0.75, 1.0]
    name = "backbone.layer2.0.conv2.weight"
    found = measure_lp_errors(context, name, [2.0, 4.0], shares)
    assert found["name"] == name
    weight = context.model.model.get_submodule(name.removesuffix(".weight")).weight.detach()
    quantizer = context.model.weight_quantizers()[name.removesuffix(".weight")]
    low, high = weight.aminmax()
    for p in (2.0, 4.0):
        norms = []
        for share in shares:
            quantizer.set_range(low * share, high * share)
            norms.append(
                float((quantizer(weight) - weight).double().abs().pow(p).mean() ** (1 / p))
            )
        wanted = torch.tensor(norms) / min(norms)
        assert found["curves"][f"{p:g}"] == pytest.approx(wanted.tolist(), rel=1e-4)


def test_activation_is_found_among_those_with_the_fewest_bits(
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context("retinanet", images=1)
    found = measure_lp_errors(context, "*.act", [2.0], [0.5, 1.0])
    assert found["name"] == "backbone.layer1.0.conv1.act"
    assert min(found["curves"]["2"]) == 1.0
    with pytest.raises(ConfigError, match="no step's name fits 'none'"):
        measure_lp_errors(context, "none", [2.0], [1.0])
