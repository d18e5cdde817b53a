"""Bias correction: exact channel means, and the same bits after a reload."""

from pathlib import Path

import pytest
import torch

from mmptq import ops
from mmptq.algorithms import BiasCorrection, JointSearch, RangeCalibration
from mmptq.errors import ConfigError
from mmptq.models.trace import flatten_tensors
from tests.calibration_support import MMSE, MakeContext, make_context  # noqa: F401


def moments(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows = weight.detach().double().flatten(1)
    return rows.mean(1), rows.std(1)


@pytest.mark.parametrize("norm", [False, True])
def test_restores_the_means_of_all_channels(norm: bool, make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("faster_rcnn", images=1)
    before = {n: m.quantized_weight().clone() for n, m in context.model.quant_layers()}
    with torch.no_grad():
        BiasCorrection(norm=norm).run(context)
        for name, layer in context.model.quant_layers():
            mean, std = moments(layer.quantized_weight())
            float_mean, float_std = moments(layer.weight)
            old_mean, old_std = moments(before[name])
            scale = float(layer.weight.abs().max())
            assert torch.allclose(mean, float_mean, rtol=0.0, atol=scale * 1e-7), name
            assert torch.allclose(std, float_std if norm else old_std, rtol=1e-5), name
            assert not torch.allclose(old_mean, float_mean, rtol=0.0, atol=scale * 1e-5), name


def test_hand_computed_channel() -> None:
    weight = torch.tensor([[1.0, 2.0, 6.0]])
    quantized = torch.tensor([[0.0, 2.0, 4.0]])  # mean 2, the float one 3
    assert torch.equal(
        ops.correct_weight(quantized, weight, "mean"), torch.tensor([[1.0, 3.0, 5.0]])
    )
    # Squared norms around the means: 14 and 8.
    expected = torch.tensor([[-2.0, 0.0, 2.0]]) * (14 / 8) ** 0.5 + 3.0
    assert torch.allclose(ops.correct_weight(quantized, weight, "mean_norm"), expected)


def test_constant_channel_is_only_shifted() -> None:
    weight = torch.tensor([[[0.1, 0.2]], [[0.0, 0.0]]])
    corrected = ops.correct_weight(torch.zeros(2, 1, 2), weight, "mean_norm")
    assert torch.allclose(corrected, torch.tensor([[[0.15, 0.15]], [[0.0, 0.0]]]))


@pytest.mark.parametrize("norm", [False, True])
def test_reloads_to_the_same_bits(norm: bool, tmp_path: Path, make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1)
    BiasCorrection(norm=norm).run(context)
    path = tmp_path / "quantized.pth"
    torch.save(context.model.state_dict(), path)
    fresh = make_context("retinanet", images=1, folder="b", ranges=False)
    fresh.model.load_state_dict(torch.load(path, weights_only=True))
    image = context.adapter.trace_image()
    outputs = []
    with torch.no_grad():
        for c in (context, fresh):
            c.model.start_pass()
            outputs.append(list(flatten_tensors(c.adapter.raw_outputs(image))))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    # And a state without a correction takes it away.
    layer = next(layer for _, layer in fresh.model.quant_layers())
    state = {k: v for k, v in layer.state_dict().items() if k != "weight_correction"}
    layer.load_state_dict(state)
    assert "weight_correction" not in layer.state_dict()


def test_gradients_reach_the_weight(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", images=1)
    BiasCorrection(norm=True).run(context)
    _, layer = list(context.model.quant_layers())[3]
    layer.weight.requires_grad_()
    layer.quantized_weight().square().sum().backward()
    assert bool(layer.weight.grad.isfinite().all())
    assert float(layer.weight.grad.abs().sum()) > 0.0


def test_is_active_during_a_search_and_may_come_first(make_context: MakeContext) -> None:  # noqa: F811
    first = make_context("retinanet", images=1, ranges=False)
    BiasCorrection().run(first)
    RangeCalibration(weight=MMSE, act=MMSE).run(first)
    after = make_context("retinanet", images=1, folder="b")
    BiasCorrection().run(after)
    for context in (first, after):
        JointSearch(max_evals=5).run(context)
    weights = [
        [layer.quantized_weight() for _, layer in c.model.quant_layers()] for c in (first, after)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_refuses_what_is_no_switch() -> None:
    with pytest.raises(ConfigError, match="norm"):
        BiasCorrection(norm="yes")  # type: ignore[arg-type]
