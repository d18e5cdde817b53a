"""The step on small detectors: its choice, its files, a killed run, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmptq.adapters import find_adapter
from mmptq.algorithms import MixedPrecision, RangeCalibration
from mmptq.algorithms.mixed_precision import mixed_precision as module
from mmptq.engine import CalibrationContext, LossEvaluator, float_form
from mmptq.errors import ConfigError, NumericalError
from mmptq.evaluation import model_cost
from mmptq.models import QConfig
from tests.calibration_support import MMSE, W4A4, MakeContext, make_context  # noqa: F401
from tests.mixed_support import mixed_context

CHOICES: dict[str, Any] = {"weight_bits": (2, 4, 8), "act_bits": (4, 8)}


def loss(context: CalibrationContext, kind: str) -> float:
    return LossEvaluator(context, {"type": kind}, incremental=False)()


def loss_of_float(context: CalibrationContext) -> float:
    evaluator = LossEvaluator(context, {"type": "TaskLoss"}, incremental=False)
    with float_form(context.model):
        return evaluator()


def found_bits(context: CalibrationContext) -> dict[str, float]:
    model = context.model
    return {
        name: quantizer.scheme.num_bits
        for name, quantizer in {**model.sites, **model.weight_quantizers()}.items()
    }


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_it_keeps_the_budget_and_is_nearer_than_uniform(
    make_context: MakeContext,  # noqa: F811
    tmp_path: Path,
    name: str,
) -> None:
    context = mixed_context(make_context, name)
    budget = model_cost(context.profile, context.model.plan)  # type: ignore[arg-type]
    distance = {"type": "OutputDistance"}
    MixedPrecision(size_mb="W4A4", gbops="W4A4", measure=distance, **CHOICES).run(context)
    plan = context.model.plan
    assert plan is not None and context.profile is not None
    cost = model_cost(context.profile, plan)
    assert cost.size_mb <= budget.size_mb * (1 + 1e-6)
    assert cost.gbops <= budget.gbops * (1 + 1e-6)
    uniform = make_context(name, folder="uniform")
    assert loss(context, "OutputDistance") < loss(uniform, "OutputDistance")
    # Bits and ranges are the plan's and MMSE's.
    assert found_bits(context) == {
        **{x.name: x.weight.num_bits for x in plan.layers if x.weight is not None},
        **{x.name: x.spec.num_bits for x in plan.sites},
    }
    scales = {k: q.scale.clone() for k, q in context.model.sites.items()}
    RangeCalibration(weight=MMSE, act=MMSE).run(context)
    assert all(torch.equal(scales[k], q.scale) for k, q in context.model.sites.items())


def test_its_files_say_what_was_chosen(
    make_context: MakeContext,  # noqa: F811
    make_detector: Any,
    tmp_path: Path,
) -> None:
    context = mixed_context(make_context)
    MixedPrecision(gbops="W4A4", images=2, **CHOICES).run(context)
    folder = tmp_path / "a"
    qconfig = Config.fromfile(folder / "mixed_precision_qconfig.py").qconfig
    again = find_adapter(make_detector("retinanet")).plan(QConfig.parse(qconfig))
    assert again == context.model.plan
    content = json.loads((folder / "mixed_precision.json").read_text())
    (chosen,) = (row for row in content["tried"] if row["chosen"])
    assert chosen["loss"] == min(row["loss"] for row in content["tried"])
    assert chosen["loss"] == pytest.approx(loss(context, "TaskLoss"))
    bits = {(g["which"], layer): g["bits"] for g in content["groups"] for layer in g["layers"]}
    assert context.model.plan is not None
    for layer in context.model.plan.layers:
        assert layer.weight is not None and bits["weight", layer.name] == layer.weight.num_bits
    assert (folder / "mixed_precision.png").stat().st_size > 5000


def test_a_loss_of_collapsed_models_ranks_nothing(
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Where every loss is far from the float model's, only those of least harm are compared."""
    context = mixed_context(make_context)
    float_loss = loss_of_float(context)
    said: list[str] = []
    monkeypatch.setattr(module, "print_log", lambda text, **_: said.append(text))
    monkeypatch.setattr(module, "COLLAPSED", 0.0)
    monkeypatch.setattr(module, "COMPARABLE", 1.0)
    MixedPrecision(gbops="W4A4", images=len(context.data.paths), **CHOICES).run(context)
    tried = json.loads((tmp_path / "a" / "mixed_precision.json").read_text())["tried"]
    (chosen,) = (row for row in tried if row["chosen"])
    assert chosen["harm"] == min(row["harm"] for row in tried)
    assert f"the float model's {float_loss:.4g}: hardly anything" in said[0]


def test_a_killed_run_measures_nothing_twice(
    make_context: MakeContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = MixedPrecision(size_mb="W4A4", images=2, **CHOICES)
    whole = mixed_context(make_context, folder="whole")
    step.run(whole)

    passes: list[int] = []
    measure = LossEvaluator.__call__

    def counted(self: LossEvaluator) -> float:
        if len(passes) == 2:
            raise KeyboardInterrupt
        passes.append(1)
        return measure(self)

    killed = mixed_context(make_context, folder="killed")
    monkeypatch.setattr(LossEvaluator, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        step.run(killed)
    monkeypatch.setattr(LossEvaluator, "__call__", measure)
    monkeypatch.setattr(module, "second_order", None)  # is not called again
    resumed = mixed_context(make_context, folder="killed", resume=True)
    step.run(resumed)
    log = (resumed.store.folder / "mixed_precision_losses.jsonl").read_text().splitlines()
    wanted = (whole.store.folder / "mixed_precision_losses.jsonl").read_text().splitlines()
    assert len(log) == len(wanted)
    a, b = whole.model.state_dict(), resumed.model.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class Accuracy:
    """Falls with the bits of the weights, of the model as it stands."""

    def __init__(self, context: CalibrationContext) -> None:
        self.context, self.asked = context, 0

    def of_float(self) -> float:
        return 50.0

    def now(self) -> float:
        self.asked += 1
        bits = [q.scheme.num_bits for q in self.context.model.weight_quantizers().values()]
        return 50.0 - sum(8.0 - b for b in bits) / len(bits)


def test_the_least_cost_for_a_drop(make_context: MakeContext) -> None:  # noqa: F811
    context = mixed_context(make_context)
    context.accuracy = accuracy = Accuracy(context)
    step = MixedPrecision(max_drop=2.0, cost="size_mb", evaluations=5, **CHOICES)
    assert step.reads_accuracy and not MixedPrecision(size_mb=1).reads_accuracy
    assert not step.reads_loss and MixedPrecision(size_mb=1).reads_loss
    assert not MixedPrecision(size_mb=1, measure={"type": "OutputDistance"}).reads_loss
    step.run(context)
    assert accuracy.asked <= 5
    assert 48.0 <= accuracy.now() < 50.0


def test_nan_is_named(make_context: MakeContext) -> None:  # noqa: F811
    context = mixed_context(make_context)
    context.activation_statistics()
    layers = dict(context.model.quant_layers())
    with torch.no_grad():
        layers["neck.fpn_convs.0.conv"].bias.fill_(float("nan"))
    with pytest.raises(NumericalError, match="fpn_convs|cls_convs"):
        MixedPrecision(size_mb="W4A4", images=2, **CHOICES).run(context)


def test_a_budget_is_checked_before_anything_is_prepared(
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = mixed_context(make_context)
    plan, profile = context.model.plan, context.profile
    assert plan is not None and profile is not None
    MixedPrecision(size_mb="W4A4").check_model(plan, profile, QConfig.parse(W4A4))
    with pytest.raises(ConfigError, match="least possible is"):
        MixedPrecision(size_mb=1e-6).check_model(plan, profile, QConfig.parse(W4A4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give a budget"),
        ({"size_mb": 1, "max_drop": 1}, "either a budget or max_drop"),
        ({"max_drop": -1}, "max_drop = -1: must be a number of 0 or more"),
        ({"max_drop": float("nan")}, "max_drop = nan"),
        ({"size_mb": 1, "weight_bits": ()}, r"weight_bits = \(\)"),
        ({"size_mb": 1, "act_bits": (4, 32)}, r"act_bits\[1\] = 32"),
        ({"size_mb": 1, "images": 0}, "images = 0"),
        ({"size_mb": 1, "count": 2.5}, "count = 2.5"),
        ({"max_drop": 1, "evaluations": 1}, "evaluations = 1"),
        ({"size_mb": 1, "time_limit": 0}, "time_limit = 0"),
        ({"size_mb": 1, "time_limit": "1 min"}, "time_limit = '1 min'"),
        ({"max_drop": 1, "cost": "ms"}, "cost = 'ms'"),
        ({"size_mb": 1, "objective": {"type": "TaskLoss"}}, "must be a distance"),
        ({"size_mb": 1, "measure": {"type": "Loss"}}, r"MixedPrecision\.measure\.type"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MixedPrecision(**arguments)
