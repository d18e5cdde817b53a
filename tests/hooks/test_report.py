"""The report of real runs; what stands in it is tested in tests/report."""

import dataclasses
import json
import re
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mmptq.apis import quantize
from mmptq.evaluation import model_cost
from mmptq.hooks import ReportHook, harmless
from mmptq.report import RunRecord
from mmptq.runner import CalibrationRunner
from tests.webpage.parsed import Page


def report(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_a_run_ends_with_a_report(calibrated):
    run = calibrated("retinanet")
    page, record = report(run.work_dir), RunRecord.load(run.work_dir)
    text = " ".join(page.texts)
    assert len(page.all("img")) == len(list((run.work_dir / "pictures").iterdir())) > 0
    assert "mmse W8A8 of a RetinaNet" in text and "from Python" in text
    cost = model_cost(run.runner.profile, run.runner.plan)
    assert [layer.name for layer in record.layers] == [layer.name for layer in cost.layers]
    assert sum(layer.macs for layer in record.layers) == sum(layer.macs for layer in cost.layers)
    assert {layer.weight_bits for layer in record.layers} == {8.0}
    assert record.layers[0].roles == ("backbone", "first")
    chosen = record.calibration["chosen"]
    assert len(chosen) == 6 and all(path in text for path in chosen)
    assert record.config == run.config.name and run.config.name in text


def test_searches_and_units_have_curves(tiny_project, tmp_path):
    """The steps' own logs, as they write them."""
    steps = [
        dict(type="LpInterpolation", num_points=3),
        dict(type="JointSearch", max_evals=6, group="unit", held_out=0.5),
        dict(type="BitShrinking", iters=6, log_interval=1),
    ]
    calib = dict(method="all", steps=steps, num_images=4, eval_float=False, baseline=False)
    cfg = tiny_project("retinanet").load(tmp_path, calib_hooks=dict(pictures=None))
    cfg.calib_cfg, cfg.qconfig.weight.num_bits, cfg.qconfig.act.num_bits = calib, 4, 4
    CalibrationRunner.from_cfg(cfg).calibrate()
    page = report(tmp_path)
    text = " ".join(page.texts)
    units = json.loads((tmp_path / "reconstruction/BitShrinking/summary.json").read_text())
    labels = [a.get("aria-label", "") for a in page.all("svg")]
    assert labels.count("loss over p of the norm") == 1
    assert labels.count("loss over evaluation") == 1
    assert labels.count("loss over iteration") == len(units) > 5
    assert "bit-width over iteration" in labels
    evaluations = (tmp_path / "stages/joint_search.jsonl").read_text().count('"loss"')
    assert f"{evaluations} evaluations" in text and "did not see" in text
    assert "The float model was not evaluated" in text and "None were drawn" in text


def test_a_built_classifier(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    data = DataLoader(TensorDataset(torch.randn(8, 3, 8, 8)), batch_size=4)
    eight = {"weight": {"num_bits": 8}, "act": {"num_bits": 8}}
    quantize(net, data=data, qconfig=eight, recipe={"num_images": 8}, work_dir=tmp_path)
    text = " ".join(report(tmp_path).texts)
    assert "gptq W8A8 of a ModuleClassifier" in text
    assert "Nothing was measured" in text and "There is no config file" in text
    assert "from Python" in text and "Detections" not in text
    assert "8 of 8, seed 0" in text


def test_without_it_nothing_is_written(tiny_project, tmp_path):
    cfg = tiny_project("retinanet").load(tmp_path, calib_hooks=dict(pictures=None, report=None))
    cfg.calib_cfg.update(eval_float=False, baseline=False)
    CalibrationRunner.from_cfg(cfg).calibrate()
    assert (tmp_path / "results.json").exists()
    assert not (tmp_path / "report.html").exists() and not (tmp_path / "run.json").exists()


def test_a_report_that_cannot_be_written_ends_no_run(calibrated, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(harmless, "print_log", lambda text, **_: said.append(text))
    run = calibrated("retinanet")
    (tmp_path / "report.html").mkdir()
    (tmp_path / "results.json").write_bytes((run.work_dir / "results.json").read_bytes())
    runner = SimpleNamespace(work_dir=str(tmp_path), hooks=[])
    ReportHook().after_run(runner)
    assert len(said) == 1 and re.match(
        r"no report: MmptqError: cannot write .*report\.html", said[0]
    )


def test_the_record_comes_back(calibrated, tmp_path):
    record = RunRecord.load(calibrated("retinanet").work_dir)
    record = dataclasses.replace(record, products={"neck (FPN)": 7})
    record.save(tmp_path)
    assert RunRecord.load(tmp_path) == record


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("mmptq.hooks.report.is_main_process", lambda: False)
    runner = SimpleNamespace(work_dir=str(tmp_path), hooks=[])
    hook = ReportHook()
    hook.before_calibrate(runner)
    hook.after_run(runner)
    hook.after_export(runner)
    assert list(tmp_path.iterdir()) == [] and not hook.failed
