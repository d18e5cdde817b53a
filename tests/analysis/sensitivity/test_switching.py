"""Measured distances are those that the quantizers' switches give; a killed run goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mmptq.analysis.sensitivity.switching import measure_distances, switched
from mmptq.analysis.sensitivity.tensors import QuantizedTensor, quantized_tensors
from mmptq.engine import CalibrationContext, LossEvaluator
from tests.calibration_support import MakeContext, make_context  # noqa: F401
from tests.sensitivity_support import linear_context

DISTANCE = {"type": "OutputDistance"}


def brute_force(context: CalibrationContext, tensors: list[QuantizedTensor], on: set[int]) -> float:
    """A fresh evaluator with full passes."""
    for i, tensor in enumerate(tensors):
        tensor.quantizer.enabled = i in on
    try:
        return LossEvaluator(context, DISTANCE, incremental=False, positions=range(1))()
    finally:
        context.model.enable_quantizers(weights=True, activations=True)


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_equal_to_brute_force(family: str, make_context: MakeContext) -> None:  # noqa: F811
    context = make_context(family)
    state = {key: value.clone() for key, value in context.model.state_dict().items()}
    tensors = quantized_tensors(context.model, {})
    found = measure_distances(context, tensors, DISTANCE, images=1)
    everything = set(range(len(tensors)))
    assert found.all == brute_force(context, tensors, everything) > 0
    for i in range(0, len(tensors), 7):
        assert found.alone[i] == brute_force(context, tensors, {i})
        assert found.without[i] == brute_force(context, tensors, everything - {i})
        assert found.rest(i) == found.all - found.without[i]
    assert all(t.quantizer.enabled for t in tensors)
    assert all(torch.equal(v, state[k]) for k, v in context.model.state_dict().items())


def test_equal_to_a_distance_computed_by_hand(tmp_path: Path) -> None:
    context = linear_context(tmp_path, images=1)
    tensors = quantized_tensors(context.model, {})
    found = measure_distances(context, tensors, DISTANCE, images=1)
    names = [tensor.name for tensor in tensors]
    (_, first), (_, second) = context.model.quant_layers()
    (_, batch) = next(iter(context.data))
    x = context.adapter.preprocess(batch, False)["inputs"].flatten(1)
    assert second.weight_quantizer is not None
    with torch.no_grad():
        h = torch.nn.functional.linear(x, first.weight, first.bias)
        y = torch.nn.functional.linear(h, second.weight, second.bias).double()
        other = torch.nn.functional.linear(h, second.weight_quantizer(second.weight), second.bias)
        distance = (other - y).square().sum() / (y - y.mean()).square().sum()
    alone = found.alone[names.index("network.2.weight")]
    assert alone == pytest.approx(float(distance), rel=1e-4)


def test_a_killed_run_goes_on(
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = make_context("retinanet", folder="whole")
    tensors = quantized_tensors(whole.model, {})
    expected = measure_distances(whole, tensors, DISTANCE, images=1)
    context = make_context("retinanet", folder="killed")
    calls: list[int] = []
    evaluate = LossEvaluator.__call__

    def dying(self: Any) -> float:
        calls.append(1)
        if len(calls) == len(tensors) + 5:
            raise KeyboardInterrupt
        return evaluate(self)

    monkeypatch.setattr(LossEvaluator, "__call__", dying)
    with pytest.raises(KeyboardInterrupt):
        measure_distances(context, quantized_tensors(context.model, {}), DISTANCE, images=1)
    again = make_context("retinanet", folder="killed", resume=True)
    found = measure_distances(again, quantized_tensors(again.model, {}), DISTANCE, images=1)
    assert found == expected
    assert len(calls) == 2 * len(tensors) + 1 + 1  # the one that was broken off twice


def test_switches_are_set_back(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    tensors = quantized_tensors(context.model, {})[:4]
    tensors[1].quantizer.enabled = False
    states = []
    for mode in (0.0, 1.0, 2.0, 3.0):
        with switched(tensors, mode, 2):
            states.append([tensor.quantizer.enabled for tensor in tensors])
    assert states[0] == [False, False, True, False] and states[1] == [True, True, False, True]
    assert all(states[2]) and not any(states[3])
    assert [tensor.quantizer.enabled for tensor in tensors] == [True, False, True, True]
