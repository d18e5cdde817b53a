"""tools/analyze.py sensitivity: what it writes, killed runs, quantized checkpoints, bad input."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import onnx
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmptq.analysis.sensitivity import SensitivityReport, worst_first
from mmptq.engine import LossEvaluator
from mmptq.models import QConfig
from mmptq.runner import CalibrationRunner
from tests.process_support import two_processes
from tests.tiny_project import REPO, TinyProject

Sensitivity = Callable[..., dict[str, Any]]


@pytest.fixture
def sensitivity(
    tiny_project: Callable[[str], TinyProject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Sensitivity:
    """``sensitivity(options, family)``: the JSON that it wrote."""
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)

    def run(options: str, family: str = "retinanet") -> dict[str, Any]:
        config = tiny_project(family).config
        words = ["sensitivity", config, "--work-dir", tmp_path, *options.split()]
        monkeypatch.setattr(sys, "argv", ["analyze.py", *map(str, words)])
        runpy.run_path(str(REPO / "tools/analyze.py"), run_name="__main__")
        picture = cv2.imread(str(tmp_path / "analysis/sensitivity.png"))
        assert picture is not None and picture.std() > 5.0
        return json.loads((tmp_path / "analysis/sensitivity.json").read_text())

    return run


def test_the_configs_own_bits_and_all_files(sensitivity, tmp_path, capsys):
    graph = tmp_path / "float.onnx"
    found = sensitivity(f"--images 3 --distance-images 2 --worst 3 --onnx {graph}")
    assert list(found["results"]) == ["W8A8"] and found["images"] == 3
    result = found["results"]["W8A8"]
    report = SensitivityReport.from_dict(result)
    assert report.correlations["projected"]["alone"] > 0.7
    assert {stage["stage"] for stage in result["stages"]} >= {"stem", "neck", "cls", "reg"}
    worst = worst_first(report.records)
    printed = capsys.readouterr().out
    assert worst[0].name in printed and "Spearman" in printed and "━" in printed

    cfg = Config.fromfile(tmp_path / "analysis/sensitivity_w8a8_overrides.py")
    weight, act = QConfig.parse(cfg.qconfig).resolve(worst[0].layers[0], ())
    assert {"weight": weight, "act": act}[worst[0].which].num_bits == 16
    scopes = json.loads((tmp_path / "analysis/sensitivity_w8a8_exclude.json").read_text())
    assert scopes["names_are"] == "nodes of the float ONNX graph" and not scopes["without_node"]
    names = {node.name for node in onnx.load(graph).graph.node}
    assert scopes["nodes_to_exclude"] and set(scopes["nodes_to_exclude"]) <= names
    assert len(scopes["nncf_ignored_scope"]["patterns"]) >= len(scopes["layers"])


def test_several_bit_widths_and_metrics(sensitivity, tiny_project, tmp_path, capsys):
    project = tiny_project("faster_rcnn")
    subset = json.loads((project.root / "val.json").read_text())
    subset["images"] = subset["images"][:2]
    kept = {image["id"] for image in subset["images"]}
    subset["annotations"] = [a for a in subset["annotations"] if a["image_id"] in kept]
    (tmp_path / "few.json").write_text(json.dumps(subset))
    options = (
        f"--bits 8/8 3/4 --images 2 --distance-images 1 --top-k 1 --subset {tmp_path}/few.json"
    )
    found = sensitivity(options, family="faster_rcnn")["results"]
    assert list(found) == ["W8A8", "W3A4"]
    assert found["W8A8"]["distance"] < found["W3A4"]["distance"]
    for result in found.values():
        with_metric = [r for r in result["records"] if r["metric_alone"] is not None]
        assert len(with_metric) == 1 and with_metric[0]["metric_without"] is not None
        assert result["metric_float"] >= 0.9  # the objects are what the float model found
    assert "2 test images" in capsys.readouterr().out


def test_a_killed_run_ends_in_the_same_result(sensitivity, tmp_path, monkeypatch):
    options = "--bits 4/4 --images 2 --distance-images 1 --top-k 2"
    whole = sensitivity(options)
    for name, lost in (("distances", 10), ("metrics", 4)):
        log = tmp_path / f"analysis/sensitivity_w4a4/stages/{name}.jsonl"
        lines = log.read_text().splitlines()
        log.write_text("\n".join([*lines[:-lost], lines[-lost][:9]]))
    calls = []
    evaluate = LossEvaluator.__call__
    monkeypatch.setattr(LossEvaluator, "__call__", lambda self: calls.append(1) or evaluate(self))
    assert sensitivity(f"{options} --resume")["results"] == whole["results"]
    assert len(calls) == 10


def test_ranges_of_a_quantized_checkpoint(sensitivity, calibrated):
    """Its recipe is the config's, MMSE at W8A8 on 6 images: the ranges are the same."""
    options = "--images 6 --distance-images 1"
    checkpoint = calibrated("retinanet").checkpoint
    own = sensitivity(options)["results"]["W8A8"]
    taken = sensitivity(f"{options} --checkpoint {checkpoint}")["results"]["W8A8"]
    assert taken["records"] == own["records"]
    few = sensitivity(f"{options} --checkpoint {checkpoint} --bits 4/4")["results"]["W4A4"]
    assert {record["num_bits"] for record in few["records"]} == {4.0}
    assert few["distance"] > taken["distance"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--bits 17/4", "bits '17/4'.*17"),
        ("--bits 0/4", "bits '0/4'"),
        ("--distance-images -1", "--distance-images -1: must be 0 or more"),
        ("--top-k -1", "--top-k -1: must be 0 or more"),
        ("--worst 0", "--worst 0: must be 1 or more"),
        ("--objective TaskLoss", "--objective TaskLoss: sensitivity is a distance"),
        ("--subset none.json", "--subset none.json: there is no such file"),
        ("--checkpoint none.pth", ".*none.pth"),
        ("--onnx none/float.onnx", "--onnx none/float.onnx: there is no folder none"),
    ],
)
def test_bad_input_is_refused_before_anything_is_read(options, message, sensitivity, monkeypatch):
    monkeypatch.setattr(CalibrationRunner, "setup", lambda self: pytest.fail("too late"))
    with pytest.raises(SystemExit, match=f"error: {message}"):
        sensitivity(options)


@pytest.mark.parametrize("option", ["--top-k", "--worst"])
def test_more_than_there_are_is_refused_before_any_pass(option, sensitivity, monkeypatch):
    monkeypatch.setattr(CalibrationRunner, "prepare_model", lambda *_: pytest.fail("too late"))
    with pytest.raises(SystemExit, match=f"error: {option} 999: the model has \\d\\d quantizers"):
        sensitivity(f"--images 1 {option} 999")


def test_a_checkpoint_of_another_model_is_refused(sensitivity, calibrated):
    other = calibrated("faster_rcnn").checkpoint
    with pytest.raises(SystemExit, match="made from a FasterRCNN, the config builds a RetinaNet"):
        sensitivity(f"--images 1 --checkpoint {other}")


def test_weights_that_are_not_finite_are_named(sensitivity, tiny_project, tmp_path):
    saved = torch.load(tiny_project("retinanet").checkpoint, weights_only=True)
    saved["state_dict"]["neck.lateral_convs.1.conv.weight"][0] = float("nan")
    torch.save(saved, tmp_path / "nan.pth")
    with pytest.raises(SystemExit, match="error: .*neck.lateral_convs.1.conv"):
        sensitivity(f"--images 1 --checkpoint {tmp_path}/nan.pth")


def test_two_processes_come_to_the_numbers_of_one(tiny_project, tmp_path):
    config, found = tiny_project("retinanet").config, []
    env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    for launcher, more in (((), ()), (two_processes(), ("--launcher", "pytorch"))):
        work_dir = tmp_path / f"{len(found)}"
        options = ("--images", "3", "--distance-images", "2", "--top-k", "2", *more)
        options += ("--work-dir", work_dir)
        command = [sys.executable, *launcher, REPO / "tools/analyze.py", "sensitivity", config]
        done = subprocess.run(
            [str(part) for part in (*command, *options)], env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads((work_dir / "analysis/sensitivity.json").read_text())["results"])
    assert found[0] == found[1]
