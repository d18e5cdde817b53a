"""tools/test.py beyond the reload itself (tests/test_reload.py)."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_project import REPO


@pytest.fixture
def run_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """``run_test(config, checkpoint, ...)``: the metrics."""

    def run(*arguments: Any) -> dict[str, float]:
        out = tmp_path / "metrics.json"
        arguments = (*arguments, "--work-dir", tmp_path / "test", "--out", out)
        monkeypatch.setattr(sys, "argv", ["test.py", *map(str, arguments)])
        runpy.run_path(str(REPO / "tools/test.py"), run_name="__main__")
        metrics = json.loads(out.read_text())
        return {key.rpartition("/")[2]: value for key, value in metrics.items()}

    return run


def test_float_checkpoint_gives_the_float_row(run_test, calibrated, tiny_project):
    project, wanted = tiny_project("retinanet"), calibrated("retinanet").results.rows[0].metrics
    for config in (project.config, project.float_config):
        found = run_test(config, project.checkpoint)
        assert {key: found[key] for key in wanted} == wanted


def test_plain_config_opens_the_quantized_checkpoint(run_test, calibrated, tiny_project):
    run = calibrated("faster_rcnn")
    found = run_test(tiny_project("faster_rcnn").float_config, run.checkpoint)
    assert {key: found[key] for key in run.metrics} == run.metrics


@pytest.mark.parametrize("content", [None, b"garbage"])
def test_unreadable_checkpoint_is_named(content, run_test, tiny_project, tmp_path):
    path = tmp_path / "broken.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit, match="error: .*broken.pth"):
        run_test(tiny_project("retinanet").config, path)


def test_checkpoint_of_another_model_is_refused(run_test, calibrated, tiny_project):
    with pytest.raises(SystemExit, match="error: .*made from a FasterRCNN.*builds a RetinaNet"):
        run_test(tiny_project("retinanet").config, calibrated("faster_rcnn").checkpoint)


def test_float_checkpoint_of_another_model_is_refused(run_test, tiny_project):
    """MMEngine itself would load what fits, warn, and measure a half random model."""
    with pytest.raises(SystemExit, match="error: .*another model"):
        run_test(tiny_project("retinanet").config, tiny_project("faster_rcnn").checkpoint)


def test_incomplete_quantized_checkpoint_is_refused(run_test, calibrated, tiny_project, tmp_path):
    saved = torch.load(calibrated("retinanet").checkpoint, weights_only=True)
    del saved["state_dict"]["detector.neck.fpn_convs.0.conv.weight_quantizer.scale"]
    torch.save(saved, tmp_path / "cut.pth")
    with pytest.raises(SystemExit, match="error: .*lacks 1 tensors.*fpn_convs.0.conv"):
        run_test(tiny_project("retinanet").config, tmp_path / "cut.pth")


def test_resume_in_the_config_does_no_harm(run_test, calibrated, tiny_project):
    run = calibrated("retinanet")
    options = ["--cfg-options", "resume=True"]
    found = run_test(tiny_project("retinanet").config, run.checkpoint, *options)
    assert {key: found[key] for key in run.metrics} == run.metrics


def test_missing_data_is_named(run_test, calibrated, tiny_project, tmp_path):
    run = calibrated("retinanet")
    with pytest.raises(SystemExit, match="error: .*val.json"):
        run_test(tiny_project("retinanet").config, run.checkpoint, "--data-root", tmp_path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("test_evaluator=None", "lacks 'test_evaluator'"),
        ("test_dataloader.persistent_workers=True", "test_dataloader.persistent_workers = True"),
        ("test_cfg.type=NoLoop", "test_cfg.type = 'NoLoop'"),
    ],
)
def test_what_cannot_be_measured_is_named(option, message, run_test, calibrated):
    run = calibrated("retinanet")
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        run_test(run.config, run.checkpoint, "--cfg-options", option)


def test_checkpoint_key_chooses_among_several_weights(run_test, calibrated, tiny_project, tmp_path):
    project, wanted = tiny_project("retinanet"), calibrated("retinanet").results.rows[0].metrics
    state = torch.load(project.checkpoint, weights_only=True)
    state = state.get("state_dict", state)
    worse = {key: value * 0 for key, value in state.items()}
    torch.save({"student": worse, "teacher": state}, tmp_path / "two.pth")
    with pytest.raises(SystemExit, match="error: .*two.pth.*'student', 'teacher'.*checkpoint-key"):
        run_test(project.config, tmp_path / "two.pth")
    for option in (
        ["--checkpoint-key", "teacher"],
        ["--cfg-options", "checkpoint_key=teacher"],
    ):
        found = run_test(project.float_config, tmp_path / "two.pth", *option)
        assert {key: found[key] for key in wanted} == wanted


def test_quantized_checkpoint_beside_things_unknown(run_test, calibrated, tiny_project, tmp_path):
    run = calibrated("retinanet")
    saved = torch.load(run.checkpoint, weights_only=True)
    torch.save({**saved, "made_by": Path("somewhere")}, tmp_path / "more.pth")
    found = run_test(tiny_project("retinanet").config, tmp_path / "more.pth")
    assert {key: found[key] for key in run.metrics} == run.metrics
