import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from mmengine.visualization import Visualizer

from mmptq.evaluation import ResultRow
from mmptq.hooks import CalibrationLoggingHook
from mmptq.hooks import logging as module
from mmptq.models import LayerPlan, Plan, SitePlan, TensorSpec

PLAN = Plan(
    "RetinaNet",
    "full",
    (("a", "n"),),
    (
        LayerPlan("a", "Conv2d", ("backbone",), TensorSpec(8, True, True), ("a:0",)),
        LayerPlan("b", "Conv2d", ("head",), TensorSpec(4, True, True), ("a:0",)),
        LayerPlan("c", "Conv2d", ("head",), TensorSpec(4, True, True), (None,)),
    ),
    (SitePlan("a:0", "a", TensorSpec(6, False), (("a", 0),)),),
)


@pytest.fixture
def lines(monkeypatch):
    found = []
    monkeypatch.setattr(module, "print_log", lambda text, logger, level=None: found.append(text))
    return found


@pytest.fixture
def runner(tmp_path):
    visualizer = Visualizer(
        vis_backends=[dict(type="LocalVisBackend")], save_dir=str(tmp_path), name=str(tmp_path)
    )
    return SimpleNamespace(visualizer=visualizer, model=SimpleNamespace(plan=None))


class Cost(SimpleNamespace):
    def describe_float(self):
        return "ConvAWS2d 12 layers 8.1 %"


@pytest.mark.parametrize(("share", "level"), [(0.9951, logging.INFO), (0.919, logging.WARNING)])
def test_much_in_float_is_a_warning(runner, monkeypatch, share, level):
    found = []
    monkeypatch.setattr(
        module, "print_log", lambda text, logger, level: found.append((text, level))
    )
    monkeypatch.setattr(module, "model_cost", lambda profile, plan: Cost(mac_share=share))
    runner.profile = runner.plan = None
    CalibrationLoggingHook().before_calibrate(runner)
    text = f"both operands of {100 * share:.1f} % of the multiply-adds are quantized"
    assert found == [(f"{text}; in float are ConvAWS2d 12 layers 8.1 %", level)]


def test_scalars_are_tagged_by_method(runner, lines, tmp_path):
    hook = CalibrationLoggingHook()
    hook.after_calib_eval(runner, ResultRow("float", "-", 32, 32, {"coco/bbox_mAP": 0.7}, 10.0))
    runner.model.plan = PLAN
    for method in ("minmax", "mmse"):
        row = ResultRow(method, "full", 4, 4, {"coco/bbox_mAP": 0.5}, 1.0, 2.0, 3.0, 32)
        hook.after_calib_eval(runner, row)
    (path,) = tmp_path.rglob("scalars.json")
    logged = [json.loads(line) for line in path.read_text().splitlines()]
    assert logged[0] == {"float/bbox_mAP": 0.7, "float/size_mb": 10.0, "step": 0}
    assert logged[2]["mmse/bbox_mAP"] == 0.5 and logged[2]["mmse/seconds"] == 3.0
    assert [entry["step"] for entry in logged] == [0, 1, 2]
    assert lines == [
        "float (-, W32A32): bbox_mAP=0.7  size_mb=10",
        "quantization plan, scope full: 3 layers; weights 1 x 8 bit, 2 x 4 bit; inputs 2 x 6 bit, "
        "1 x float through 1 quantizers; 1 batch norms folded",
        "minmax (full, W4A4): bbox_mAP=0.5  size_mb=1  gbops=2  seconds=3  images=32",
        "mmse (full, W4A4): bbox_mAP=0.5  size_mb=1  gbops=2  seconds=3  images=32",
    ]


def test_other_processes_and_models_without_a_plan(runner, lines, monkeypatch):
    monkeypatch.setattr(module, "is_main_process", lambda: False)
    CalibrationLoggingHook().after_calib_eval(runner, ResultRow("float", "-", 32, 32))
    assert lines == []


def test_curves_of_a_running_step(runner, lines, tmp_path):
    hook = CalibrationLoggingHook()
    for iteration, loss in ((0, 0.5), (100, 0.25)):
        hook.after_calib_record(runner, "QDrop/backbone.conv1", {"R": loss}, iteration)
        (path,) = tmp_path.rglob("scalars.json")  # written at once
        last = json.loads(path.read_text().splitlines()[-1])
        assert last == {"QDrop/backbone.conv1/R": loss, "step": iteration}
    assert lines == []


def test_outputs_are_no_layers():
    output = LayerPlan("b.output", "quantized output", ("head",), None, ("b.output:0",))
    site = SitePlan("b.output:0", "b.output", TensorSpec(8, False), (("b.output", 0),))
    plan = replace(PLAN, layers=(*PLAN.layers, output), sites=(*PLAN.sites, site))
    assert module.describe_plan(plan) == (
        "quantization plan, scope full: 3 layers; weights 1 x 8 bit, 2 x 4 bit; inputs 2 x 6 bit, "
        "1 x float and outputs of 1 layers through 2 quantizers; 1 batch norms folded"
    )
