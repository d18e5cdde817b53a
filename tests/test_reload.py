"""A quantized checkpoint gives the same detections through every entry point of MMDetection."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import mmdet
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from mmptq.runner import CalibrationRunner
from tests.tiny_project import NUM_VAL, REPO

FAMILIES = ("retinanet", "faster_rcnn")
MMDET_TEST = Path(mmdet.__file__).parent / ".mim/tools/test.py"


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def detect(runner: Runner, index: int) -> Any:
    """What the runner's own model finds in a test image."""
    dataset = runner.test_dataloader.dataset
    return runner.model.test_step(pseudo_collate([dataset[index]]))[0].pred_instances


def assert_same(found: Any, wanted: Any) -> None:
    assert len(found) == len(wanted) > 0
    for key in ("bboxes", "scores", "labels"):
        assert torch.equal(found[key], wanted[key]), key


def plain_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    numbers = {k.rpartition("/")[2]: v for k, v in metrics.items() if not isinstance(v, str)}
    return {k: v for k, v in numbers.items() if k.startswith("bbox_mAP")}


def test_quantization_changes_the_detections_but_leaves_some(family, calibrated):
    float_row, _, row = calibrated(family).results.rows
    assert 0 < row.metrics["bbox_mAP_50"] < float_row.metrics["bbox_mAP_50"]


def test_tools_test_gives_the_same_metrics(family, calibrated, tiny_project, tmp_path, monkeypatch):
    run, out = calibrated(family), tmp_path / "metrics.json"
    arguments = [tiny_project(family).config, run.checkpoint, "--work-dir", tmp_path, "--out", out]
    monkeypatch.setattr(sys, "argv", ["test.py", *map(str, arguments)])
    runpy.run_path(str(REPO / "tools/test.py"), run_name="__main__")
    assert plain_metrics(json.loads(out.read_text())) == run.metrics


def test_mmdetections_test_script_gives_the_same_metrics(family, calibrated, tmp_path):
    run = calibrated(family)
    done = subprocess.run(
        [sys.executable, MMDET_TEST, run.config, run.checkpoint, "--work-dir", tmp_path],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    log = done.stdout + done.stderr
    printed = dict(re.findall(r"coco/(bbox_mAP\w*): (-?[\d.]+)", log))
    assert {key: float(printed[key]) for key in run.metrics} == run.metrics


def test_init_detector_finds_the_same(family, calibrated, tiny_project):
    run, project = calibrated(family), tiny_project(family)
    model = init_detector(str(run.config), str(run.checkpoint), device="cpu")
    for index in range(NUM_VAL):
        found = inference_detector(model, str(project.image(index))).pred_instances
        assert_same(found, detect(run.runner, index))


def test_det_inferencer_finds_the_same(family, calibrated, tiny_project):
    run, project = calibrated(family), tiny_project(family)
    inferencer = DetInferencer(
        str(run.config), str(run.checkpoint), device="cpu", show_progress=False
    )
    images = [str(project.image(i)) for i in range(NUM_VAL)]
    found = inferencer(images, return_datasamples=True, no_save_vis=True)["predictions"]
    for index in range(NUM_VAL):
        assert_same(found[index].pred_instances, detect(run.runner, index))


def test_quantized_checkpoint_holds_nothing_but_tensors_and_plain_values(family, calibrated):
    run = calibrated(family)
    saved = torch.load(run.checkpoint, weights_only=True)
    own = run.runner.model.state_dict()
    assert saved["state_dict"].keys() == own.keys()
    assert all(torch.equal(saved["state_dict"][key], own[key]) for key in own)
    assert list(saved["meta"]["dataset_meta"]["classes"]) == ["ant", "bee", "cat", "dog"]


def test_float16_weights_give_the_result_of_the_same_weights_widened(tiny_project, tmp_path):
    project = tiny_project("retinanet")
    state = torch.load(project.checkpoint, weights_only=True)["state_dict"]
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    wide = {k: v.float() if v.is_floating_point() else v for k, v in half.items()}
    saved = []
    for name, weights in (("half", half), ("wide", wide)):
        torch.save({"state_dict": weights}, tmp_path / f"{name}.pth")
        cfg = project.load(tmp_path / name, load_from=str(tmp_path / f"{name}.pth"))
        cfg.calib_cfg.update(baseline=False, eval_float=False)
        CalibrationRunner.from_cfg(cfg).calibrate()
        saved.append(torch.load(tmp_path / name / "quantized.pth", weights_only=True)["state_dict"])
    assert all(torch.equal(saved[0][key], saved[1][key]) for key in saved[1])
    assert {v.dtype for k, v in saved[0].items() if k.endswith(("weight", "bias"))} == {
        torch.float32
    }
