"""Reconstruction of transformer blocks: with the Fisher weights, and with levels of their own."""

import json
from typing import Any

import pytest
import torch

from mmptq.algorithms import (
    BRECQ,
    AdaRound,
    BitShrinking,
    LearnedSteps,
    NormReparametrization,
    QDrop,
    RangeCalibration,
    Reconstruction,
)
from mmptq.engine import CalibrationContext
from mmptq.engine.units.unit_data import WEIGHT, UnitData
from mmptq.engine.units.unit_problem import UnitProblem
from mmptq.quantizers import LogQuantizer, TwinQuantizer
from tests.calibration_support import MMSE, W4A4
from tests.transformer_support import MakeTransformer, make_model, make_transformer

__all__ = ["make_transformer"]

OWN_LEVELS: dict[str, Any] = {
    **W4A4,
    "overrides": [
        dict(role="softmax", act=dict(type="LogQuantizer")),
        dict(role="gelu", act=dict(type="TwinQuantizer")),
    ],
}
SIZE: dict[str, Any] = dict(iters=12, batch_size=2, preset="fast", probe_images=4)
METHODS: dict[str, tuple[type[Reconstruction], dict[str, Any]]] = {
    "adaround": (AdaRound, {}),
    "brecq": (BRECQ, {}),
    "learned_steps": (LearnedSteps, {}),
    "qdrop": (QDrop, {}),
    "bitshrink": (BitShrinking, {}),
    "progressive": (BitShrinking, dict(mode="progressive")),
}


def run(context: CalibrationContext, method: str, **changes: Any) -> list[dict[str, Any]]:
    """The units' reports."""
    cls, arguments = METHODS[method]
    torch.manual_seed(0)
    step = cls(**{**SIZE, **arguments, **changes})
    assert step.reads_loss == (changes.get("fisher") is True)
    step.run(context)
    (file,) = context.store.folder.parent.glob("reconstruction/*/summary.json")
    return json.loads(file.read_text())


@pytest.mark.parametrize("method", METHODS)
def test_with_levels_of_their_own(method: str, make_transformer: MakeTransformer) -> None:
    """Ranges, a search in units of their own, and the same bits when it is loaded again."""
    context = make_transformer("vit", images=4, qconfig=OWN_LEVELS)
    model = context.model
    kinds = [type(q) for q in model.sites.values()]
    assert kinds.count(LogQuantizer) == kinds.count(TwinQuantizer) == 2
    before = {name: q.scale.clone() for name, q in model.sites.items()}
    units = run(context, method)
    assert all(unit["after"] <= unit["before"] for unit in units)
    assert any(unit["after"] < unit["before"] for unit in units)
    learned = [n for n, q in model.sites.items() if not torch.equal(q.scale, before[n])]
    learns = method not in ("adaround", "brecq")
    assert any("probs" in n or "fc2" in n for n in learned) == learns
    fresh, x = make_model("vit"), torch.randn(2, 3, 16, 16)
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(x), model(x))


@pytest.mark.parametrize("method", ["brecq", "learned_steps", "qdrop", "bitshrink"])
def test_with_fisher_weights(
    method: str, make_transformer: MakeTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every difference has a weight, 1 on average, and the units learn by it."""
    seen: list[float] = []
    loss = UnitProblem.loss

    def weighted(self: UnitProblem, *args: Any, **kwargs: Any) -> torch.Tensor:
        data: UnitData = self.data
        assert data.has(WEIGHT)
        parts = [data.get(WEIGHT, image, 0) for image in range(data.num_images)]
        seen.append(float(torch.cat(parts).mean()))
        return loss(self, *args, **kwargs)

    monkeypatch.setattr(UnitProblem, "loss", weighted)
    units = run(make_transformer("vit", images=4), method, fisher=True)
    assert any(unit["after"] < unit["before"] for unit in units)
    torch.testing.assert_close(torch.tensor(seen), torch.ones(len(seen)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["adaround", "qdrop", "bitshrink"])
@pytest.mark.parametrize("name", ["vit", "swin"])
def test_with_channels_weighed_by_the_outputs(
    method: str, name: str, make_transformer: MakeTransformer
) -> None:
    units = run(make_transformer(name, images=3), method, fisher="outputs")
    assert any(unit["after"] < unit["before"] for unit in units)


@pytest.mark.parametrize("method", ["qdrop", "bitshrink"])
def test_behind_rewritten_norms(method: str, make_transformer: MakeTransformer) -> None:
    context = make_transformer("swin", images=3)
    NormReparametrization().run(context)
    context.collect_again("again")
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    units = run(context, method)
    assert any(unit["after"] < unit["before"] for unit in units)
