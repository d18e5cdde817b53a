"""Attention, depthwise and odd layers, corrections and factors through a packed checkpoint."""

from typing import Any

import pytest
import torch

from mmptq.algorithms import BiasCorrection, Equalization, RangeCalibration
from mmptq.engine import CalibrationContext
from mmptq.models import PACKED_KEY, packed_state, stays_float
from tests.calibration_support import MMSE
from tests.transformer_support import MODELS, MakeTransformer, make_model, make_transformer

__all__ = ["make_transformer"]

NETS = {"odd": "odd_layers:OddLayers", "depthwise": "depthwise_net:make_net"}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in NETS.items():
        cfg = dict(
            classifier_type="mmptq.ModuleClassifier", module=f"tests.{module}", image_size=16
        )
        monkeypatch.setitem(MODELS, name, cfg)


@torch.no_grad()
def assert_same_when_packed(name: str, context: CalibrationContext) -> None:
    source, target = context.model, make_model(name)
    assert not stays_float(source)
    for parameter in target.parameters():
        parameter.add_(1)
    state = packed_state(source)
    assert list(state) == [PACKED_KEY]
    target.load_state_dict(state)
    for _, batch in context.data:
        images = source.data_preprocessor(batch, False)["inputs"]
        found, wanted = target(images), source(images)
        assert torch.equal(found, wanted) and bool(wanted.isfinite().all())


@pytest.mark.parametrize("name", ["vit", "swin", "pvt", "odd", "depthwise"])
@pytest.mark.parametrize(
    "weight",
    [
        dict(num_bits=2, per_channel=False),
        dict(num_bits=3, symmetric=False),
        dict(num_bits=5),
        dict(num_bits=16),
    ],
)
def test_layers_of_all_kinds(
    name: str, weight: dict[str, Any], make_transformer: MakeTransformer
) -> None:
    context = make_transformer(name, qconfig=dict(weight=weight, act=dict(num_bits=6)))
    assert_same_when_packed(name, context)


@pytest.mark.parametrize("name", ["vit", "depthwise"])
def test_measured_corrections(name: str, make_transformer: MakeTransformer) -> None:
    context = make_transformer(name)
    BiasCorrection(mode="measured").run(context)
    assert_same_when_packed(name, context)


@pytest.mark.parametrize("name", ["vit", "depthwise"])
def test_input_factors(name: str, make_transformer: MakeTransformer) -> None:
    context = make_transformer(name)
    Equalization(explicit=True).run(context)
    context.collect_again("again")
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    assert any(layer.input_factor is not None for _, layer in context.model.quant_layers())
    assert_same_when_packed(name, context)


@pytest.mark.parametrize("target", ["openvino", "onnxruntime", "tensorrt"])
def test_rules_of_a_runtime(target: str, make_transformer: MakeTransformer) -> None:
    qconfig = dict(weight=dict(num_bits=8), act=dict(num_bits=8), target=target)
    assert_same_when_packed("depthwise", make_transformer("depthwise", qconfig=qconfig))
