"""Layers beside plain convolutions through the core: plan, float form, reload, search, recipes."""

import json
import random
from typing import Any

import pytest
import torch
from torch import Tensor

from mmptq.adapters import find_adapter
from mmptq.algorithms import AdaRound, BiasCorrection, BitShrinking
from mmptq.algorithms.lapq.search_space import SearchSpace
from mmptq.engine import LossEvaluator
from mmptq.errors import CheckpointError
from mmptq.evaluation import model_cost, profile_model
from mmptq.models import Plan, QConfig, QuantClassifier
from tests.calibration_support import W4A4
from tests.transformer_support import MODELS, MakeTransformer, make_model, make_transformer

__all__ = ["make_transformer"]

ODD = dict(
    classifier_type="mmptq.ModuleClassifier", module="tests.odd_layers:OddLayers", image_size=16
)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "odd", ODD)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def prepared(**qconfig: Any) -> QuantClassifier:
    model = make_model("odd")
    model.prepare(find_adapter(model.model).plan(QConfig.parse({**W4A4, **qconfig})))
    return model


def test_everything_is_in_the_plan() -> None:
    model = make_model("odd")
    names, adapter = set(model.state_dict()), find_adapter(model.model)
    plan = adapter.plan(QConfig.parse(W4A4))
    kinds = {p.name.removeprefix("network."): p.kind for p in plan.layers}
    assert kinds == {
        "stem": "Conv2dAdaptivePadding",
        "body.0.0": "ConvWS2d",
        "body.1.0.conv_offset": "Conv2d",
        "body.1.0.deform": "DeformConv2d",
        "body.2.0.conv_offset": "Conv2d",
        "body.2.0.deform": "ModulatedDeformConv2d",
        "body.3.0": "ConvTranspose2d",
        "body.4.0": "ConvTranspose2d",
        "body.5": "ConvAWS2d",
        "body.6": "ParametrizedConv2d",
        "fc": "Linear",
    }
    inputs = {p.name.removeprefix("network."): p.inputs for p in plan.layers}
    for pack in ("body.1.0", "body.2.0"):
        assert inputs[f"{pack}.deform"] == inputs[f"{pack}.conv_offset"]
    expected = [f"network.{name}" for name in ("body.0.0", "body.5", "body.6", "fc")]
    assert list(plan.weights) == expected and not plan.unplanned
    assert [norm for _, norm in plan.folds] == [
        "network.norm", *(f"network.body.{i}.1" for i in (1, 2, 3, 4))
    ]  # fmt: skip
    assert Plan.from_tensor(plan.to_tensor()) == plan
    assert set(model.state_dict()) == names  # the float model is as it was
    profile = profile_model(adapter, (16, 16))
    assert model_cost(profile, plan).mac_share == 1.0
    model.prepare(plan)
    again = profile_model(adapter, (16, 16))
    assert [(x.name, x.kind, x.macs) for x in again.layers] == [
        (x.name, x.kind, x.macs) for x in profile.layers
    ]
    assert model_cost(again, plan).packed_bytes == model_cost(profile, plan).packed_bytes


@torch.no_grad()
def test_without_ranges_the_prepared_model_is_the_float_model(images: Tensor) -> None:
    expected = make_model("odd")(images)
    torch.testing.assert_close(prepared()(images), expected, rtol=1e-4, atol=1e-5)
    exact = prepared(fold_bn=False)
    assert torch.equal(exact(images), expected)


@torch.no_grad()
def test_reload_is_bit_for_bit(make_transformer: MakeTransformer, images: Tensor) -> None:
    context = make_transformer("odd")
    BiasCorrection(norm=True).run(context)
    state = context.model.state_dict()
    reloaded = QuantClassifier(**ODD).eval()  # other weights, and the buffers of another norm
    reloaded.load_state_dict(state)
    assert torch.equal(reloaded(images), context.model(images))
    assert not torch.allclose(reloaded(images), make_model("odd")(images), atol=1e-3)


def test_a_config_without_the_normalisation() -> None:
    model = make_model("odd")
    model.model.network.body[0][0] = torch.nn.Conv2d(8, 8, 3, padding=1)
    with pytest.raises(CheckpointError, match="is a ConvWS2d in the quantized .* and a Conv2d in"):
        model.load_state_dict(prepared().state_dict())


def test_incremental_evaluation_is_exact(make_transformer: MakeTransformer) -> None:
    context = make_transformer("odd")
    full = LossEvaluator(context, {"type": "TaskLoss"}, incremental=False)
    incremental = LossEvaluator(context, {"type": "TaskLoss"})
    space = SearchSpace(context.model)
    point, rng, losses = [0.0] * len(space), random.Random(0), set()
    for i in rng.sample(range(len(space)), min(len(space), 12)):
        point[i] = 2.0
        space.apply(point)
        losses.add(incremental())
        assert incremental() == full()
    assert len(losses) > 8


@pytest.mark.parametrize("method", [AdaRound, BitShrinking])
def test_reconstruction(method: Any, make_transformer: MakeTransformer, images: Tensor) -> None:
    context = make_transformer("odd", batch_size=2)
    torch.manual_seed(0)
    method(preset="fast", iters=15, batch_size=3, probe_images=3).run(context)
    folder = context.store.folder.parent / "reconstruction" / method.__name__
    units = json.loads((folder / "summary.json").read_text())
    assert all(unit["after"] <= unit["before"] for unit in units)
    assert sum(unit["after"] for unit in units) < 0.97 * sum(unit["before"] for unit in units)
    reloaded = make_model("odd")
    reloaded.load_state_dict(context.model.state_dict())
    with torch.no_grad():
        assert torch.equal(reloaded(images), context.model(images))
