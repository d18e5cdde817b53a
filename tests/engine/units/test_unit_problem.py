from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from mmptq.engine.units.unit_data import (
    FLOAT_IN,
    FLOAT_OUT,
    QUANT_IN,
    WEIGHT,
    CacheSettings,
    UnitData,
)
from mmptq.engine.units.unit_problem import UnitProblem
from mmptq.engine.units.units import Unit
from mmptq.modules import QuantLayer
from mmptq.quantizers import LearnedStepQuantizer
from tests.calibration_support import MakeContext, make_context
from tests.reconstruction_support import prepared

__all__ = ["make_context"]


class _Form:
    """A form without quantizers, for a module that is not quantized."""

    layers: dict[str, QuantLayer] = {}
    weights: dict[str, LearnedStepQuantizer] = {}
    acts: dict[str, LearnedStepQuantizer] = {}


def toy(
    outputs: Sequence[Sequence[Tensor]],
    relu: bool = False,
    metrics: Sequence[Tensor] | None = None,
) -> UnitProblem:
    """The identity on inputs of zeros; ``outputs`` by image and call are the float outputs."""
    calls = len(outputs[0])
    unit = Unit("toy", (), tuple(range(calls)), ({},) * calls, relu, ())
    data = UnitData(len(outputs), calls, CacheSettings(), "unused", torch.device("cpu"))
    for image, levels in enumerate(outputs):
        for call, y in enumerate(levels):
            data.put(QUANT_IN, image, call, torch.zeros_like(y))
            data.put(FLOAT_IN, image, call, y)
            data.put(FLOAT_OUT, image, call, y)
    form = _Form()
    return UnitProblem(nn.Identity(), unit, form, data, metrics)  # type: ignore[arg-type]


def test_loss_by_hand() -> None:
    """Summed over channels, mean over images and positions, mean over calls."""
    level_0 = torch.tensor([1.0, 2.0, 0.0, 0.0, 3.0, 0.0]).reshape(1, 2, 1, 3)
    level_1 = torch.tensor([2.0, 2.0]).reshape(1, 2, 1, 1)
    problem = toy([[level_0, level_1]])
    assert float(problem.loss([0])) == pytest.approx(0.5 * ((1 + 4 + 9) / 3 + 8))


def test_loss_of_tokens_by_hand() -> None:
    """The channels of a token stand last: summed over them, mean over tokens."""
    tokens = torch.tensor([[1.0, 2.0], [0.0, 3.0], [1.0, 1.0]]).reshape(1, 3, 2)
    assert float(toy([[tokens]]).loss([0])) == pytest.approx((5 + 9 + 2) / 3)


def test_metrics_weigh_channels_and_their_products_in_each_call() -> None:
    metrics = [torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.eye(2) * 5]
    level_0 = torch.tensor([1.0, 2.0, 0.0, 0.0, 3.0, 0.0]).reshape(1, 2, 1, 3)
    level_1 = torch.tensor([2.0, 1.0]).reshape(1, 2, 1, 1)
    # By position: (1, 0), (2, 3) and (0, 0).
    by_hand = 0.5 * ((2 + (8 + 27 + 12)) / 3 + 5 * 5)
    maps = toy([[level_0, level_1]], metrics=metrics)
    assert float(maps.loss([0])) == pytest.approx(by_hand)
    tokens = toy([[y.flatten(2).mT for y in (level_0, level_1)]], metrics=metrics)
    assert float(tokens.loss([0])) == pytest.approx(by_hand)


def test_images_of_different_sizes_count_by_their_positions() -> None:
    small, large = torch.ones(1, 2, 1, 1), torch.full((1, 2, 3, 3), 2.0)
    problem = toy([[small], [large], [small]])
    assert float(problem.loss([0, 1, 2])) == pytest.approx((2 * 2 + 8 * 9) / 11)
    assert float(problem.loss([1])) == pytest.approx(8)


def test_arguments_beside_the_input_are_those_of_each_image() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, shape: tuple[int, int], gain: float = 1.0) -> Tensor:
            return x + gain * shape[0]

    problem = toy([[torch.full((1, 1, 1, 1), y)] for y in (1.0, 2.0, 3.0)])
    problem._module = Scaled()
    for image, (height, gain) in enumerate([(2, 1.0), (2, 1.0), (4, 0.5)]):
        problem.data.put_rest(image, 0, (((height, 7),), (("gain", gain),)))
    assert problem.data.rest([2], 0) == (((4, 7),), (("gain", 0.5),))
    assert float(problem.loss([0, 1, 2])) == pytest.approx((1 + 0 + 1) / 3)


def test_tensors_beside_the_input_are_joined_as_inputs_are() -> None:
    class Shifted(nn.Module):
        def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
            return x + offset if mask is None else x + offset * mask

    problem = toy([[torch.full((1, 1, 1, 2), y)] for y in (1.0, 2.0, 4.0)])
    problem._module = Shifted()
    for image, offset in enumerate((1.0, 3.0, 8.0)):
        mask = (("mask", torch.full((1, 1, 1, 2), 0.5)),) if image == 2 else ()
        problem.data.put_rest(image, 0, ((torch.full((1, 1, 1, 2), offset),), mask))
    (joined,), _ = problem.data.rest([0, 1], 0)
    assert joined[:, 0, 0, 0].tolist() == [1.0, 3.0]
    assert float(problem.loss([0, 1, 2])) == pytest.approx((0 + 1 + 0) / 3)


def test_an_image_in_which_the_unit_does_not_run() -> None:
    problem = toy([[torch.ones(1, 1, 2, 2)]])
    problem.data.num_images = 2
    assert float(problem.loss([0, 1])) == 1.0
    nothing = problem.loss([1])
    nothing.backward()
    assert float(nothing) == problem.measure([1]) == 0.0
    assert problem.data.has(FLOAT_IN) and not problem.data.has(WEIGHT)


def test_a_weight_multiplies_each_squared_difference() -> None:
    y = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)
    problem = toy([[y]])
    problem.data.put(WEIGHT, 0, 0, torch.tensor([3.0, 0.5]).reshape(1, 2, 1, 1))
    assert float(problem.loss([0])) == pytest.approx(3 * 1 + 0.5 * 4)


def test_no_regions_in_an_image() -> None:
    full, empty = torch.ones(2, 3), torch.ones(0, 3)
    assert float(toy([[full], [empty]]).loss([0, 1])) == pytest.approx(3.0)


def test_dropping_mixes_in_the_float_input() -> None:
    """The toy returns its input: a dropped element has no error, the others have 1."""
    problem = toy([[torch.ones(1, 1, 200, 200)]])
    generator = torch.Generator().manual_seed(0)
    assert float(problem.loss([0], 0.3, generator)) == pytest.approx(0.7, abs=0.01)
    assert problem.measure([0]) == 1.0


@pytest.mark.parametrize("unit", ["backbone.layer2.0", "bbox_head.cls_convs.1"])
def test_the_trainable_form_computes_what_the_calibrated_one_does(
    make_context: MakeContext, unit: str
) -> None:
    problem, _ = prepared(make_context, "retinanet", unit)
    before = problem.measure([0, 1])
    assert before > 0
    with problem.form.attached():
        assert problem.measure([0, 1]) == before
        assert problem.measure_float([0, 1]) < before
    assert problem.measure([0, 1]) == before


@pytest.mark.parametrize("unit", ["backbone.layer2.0", "bbox_head.cls_convs.1"])
def test_what_is_committed_computes_what_was_trained(make_context: MakeContext, unit: str) -> None:
    problem, model = prepared(make_context, "retinanet", unit)
    form = problem.form
    with form.attached(), torch.no_grad():
        for step in form.steps:
            step.log_gain.add_(0.05)
        for layer in form.layers.values():
            layer.weight.mul_(1.02)
        trained = problem.measure([0, 1])
    form.commit()
    assert problem.measure([0, 1]) == trained
    for layer in form.layers.values():  # on the grid
        assert layer.weight_quantizer is not None
        assert torch.equal(layer.weight_quantizer(layer.weight), layer.weight)
    copy = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(copy)
    assert problem.measure([0, 1]) == trained
