"""tools/quantize.py: several processes, killed runs, and the plain ways to call it."""

import json
import os
import resource
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_project import REPO

QUANTIZE = REPO / "tools/quantize.py"
ENV = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}


def start(*arguments: Any, launcher: tuple[str, ...] = (), **kwargs: Any) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, QUANTIZE, *arguments]
    return subprocess.Popen(
        [str(part) for part in command],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> None:
    """The command in this process, without the seconds that the imports take."""
    monkeypatch.setattr(sys, "argv", ["quantize.py", *map(str, arguments)])
    runpy.run_path(str(QUANTIZE), run_name="__main__")


def rows(work_dir: Path) -> list[dict[str, Any]]:
    """The rows of ``results.json``, but for the seconds."""
    found = json.loads((work_dir / "results.json").read_text())["rows"]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


def assert_same_outcome(work_dir: Path, wanted: Path) -> None:
    """Checkpoints equal bit for bit, and the same figures."""
    states = [
        torch.load(d / "quantized.pth", weights_only=True)["state_dict"] for d in (work_dir, wanted)
    ]
    assert states[0].keys() == states[1].keys()
    different = [k for k in states[1] if not torch.equal(states[0][k], states[1][k])]
    assert not different
    assert rows(work_dir) == rows(wanted)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_two_processes_give_what_one_gives(family, calibrated, tiny_project, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}")
    config = tiny_project(family).config
    process = start(config, "--launcher", "pytorch", "--work-dir", tmp_path, launcher=launcher)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same_outcome(tmp_path, calibrated(family).work_dir)


@pytest.mark.parametrize(
    ("family", "stage"),
    [
        ("faster_rcnn", "metrics_float.pth"),
        ("faster_rcnn", "statistics.pth"),
        ("retinanet", "step_00_RangeCalibration.pth"),
    ],
)
def test_killed_run_resumes_to_the_same_outcome(
    family, stage, calibrated, tiny_project, tmp_path, monkeypatch
):
    config = tiny_project(family).config
    process = start(config, "--work-dir", tmp_path)
    wait_for(tmp_path / "stages" / stage, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "quantized.pth").exists()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "stages").glob("*.pth")}
    # What a process killed in the middle of a write leaves behind.
    for leftover in (".metrics_float.pth.1.tmp", ".metrics_recipe.pth.1.tmp"):
        (tmp_path / "stages" / leftover).write_bytes(b"half")
    run_here(monkeypatch, config, "--work-dir", tmp_path, "--resume")
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not list((tmp_path / "stages").glob(".*"))
    assert_same_outcome(tmp_path, calibrated(family).work_dir)


@pytest.fixture
def finished(calibrated, tmp_path):
    """A finished run of one's own: resumed, it gets another log, and all tests share the first."""
    run, folder = calibrated("retinanet"), tmp_path / "finished"
    shutil.copytree(run.work_dir, folder)
    return replace(run, work_dir=folder)


def test_resume_of_a_finished_run_computes_nothing(finished, tiny_project, monkeypatch):
    run, config = finished, tiny_project("retinanet").config
    files = {p: p.stat().st_mtime_ns for p in (run.work_dir / "stages").glob("*.pth")}
    before = rows(run.work_dir)
    run_here(monkeypatch, config, "--work-dir", run.work_dir, "--resume")
    assert {p: p.stat().st_mtime_ns for p in (run.work_dir / "stages").glob("*.pth")} == files
    assert rows(run.work_dir) == before


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("calib_cfg.num_images=5", "calib_cfg.num_images = 6, now it is 5"),
        ("qconfig.weight.num_bits=5", "qconfig.weight.num_bits = 8, now it is 5"),
        ("calib_cfg.steps.0.act.p=3.0", r"calib_cfg.steps\[0\].act.p = 2.0, now it is 3.0"),
        ("model.test_cfg.score_thr=0.2", "model.test_cfg.score_thr = 0.05, now it is 0.2"),
        ("test_dataloader.batch_size=2", "test_dataloader.batch_size = 1, now it is 2"),
    ],
)
def test_resume_with_another_config_names_the_key(option, key, finished, tiny_project, monkeypatch):
    run, config = finished, tiny_project("retinanet").config
    stages = sorted((run.work_dir / "stages").iterdir())
    dumped = run.config.read_text()
    with pytest.raises(SystemExit, match=f"error: --resume: .* was made with {key}"):
        run_here(
            monkeypatch,
            config,
            *f"--work-dir {run.work_dir} --resume".split(),
            "--cfg-options",
            option,
        )
    assert sorted((run.work_dir / "stages").iterdir()) == stages
    assert run.config.read_text() == dumped


def test_resume_with_other_float_weights_is_refused(tiny_project, tmp_path, monkeypatch):
    project, checkpoint = tiny_project("retinanet"), tmp_path / "float.pth"
    state = torch.load(project.checkpoint, weights_only=True)["state_dict"]
    torch.save(state, checkpoint)
    arguments = [project.config, "--work-dir", tmp_path / "run", "--checkpoint", checkpoint]
    run_here(monkeypatch, *arguments, "--skip-float", "--skip-baseline")
    state["bbox_head.retina_cls.bias"] += 0.1
    torch.save(state, checkpoint)
    with pytest.raises(SystemExit, match="float_weights"):
        run_here(monkeypatch, *arguments, "--resume")


def test_skipped_rows_can_be_added_by_resuming(calibrated, tiny_project, tmp_path, monkeypatch):
    arguments = [tiny_project("retinanet").config, "--work-dir", tmp_path]
    run_here(monkeypatch, *arguments, "--skip-float", "--skip-baseline")
    assert [row["method"] for row in rows(tmp_path)] == ["float", "mmse"]
    assert "bbox_mAP" not in rows(tmp_path)[0]
    run_here(monkeypatch, *arguments, "--resume")
    assert_same_outcome(tmp_path, calibrated("retinanet").work_dir)


def test_plain_mmdetection_config_needs_no_new_one(calibrated, tiny_project, tmp_path, monkeypatch):
    project = tiny_project("faster_rcnn")
    run_here(
        monkeypatch,
        project.float_config,
        *("--checkpoint", project.checkpoint, "--work-dir", tmp_path),
        *("--qconfig", REPO / "configs/_base_/quant/w8a8.py"),
        *("--recipe", REPO / "configs/_base_/calib/mmse.py"),
        *("--cfg-options", "calib_cfg.num_images=6"),
    )
    assert_same_outcome(tmp_path, calibrated("faster_rcnn").work_dir)


def test_checkpoint_of_another_tool(calibrated, tiny_project, tmp_path, monkeypatch):
    """Weights under another key and prefix, beside others and things that torch does not know."""
    project = tiny_project("retinanet")
    state = torch.load(project.checkpoint, weights_only=True)["state_dict"]
    weights = {f"model.{key}": value for key, value in state.items()}
    other = {key: value * 0 for key, value in weights.items()}
    content = {"callbacks": Path("somewhere"), "model": other, "model_ema": weights}
    torch.save(content, tmp_path / "float.pth")
    run_here(
        monkeypatch,
        *(project.config, "--work-dir", tmp_path, "--checkpoint", tmp_path / "float.pth"),
        *("--checkpoint-key", "model_ema"),
    )
    assert_same_outcome(tmp_path, calibrated("retinanet").work_dir)


def test_full_disk_stops_with_one_line_and_keeps_what_is_finished(
    calibrated, tiny_project, tmp_path, monkeypatch
):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    config = tiny_project("retinanet").config
    process = start(config, "--work-dir", tmp_path, preexec_fn=small_files)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Traceback" not in errors
    message = errors.strip().splitlines()[-1]
    assert message.startswith(f"error: cannot write {tmp_path}/stages/statistics.pth")
    assert message.endswith("is the disk full?")
    assert sorted(p.name for p in (tmp_path / "stages").iterdir()) == [
        "fingerprint.json",
        "metrics_float.pth",
        "pictures.json",
    ]
    run_here(monkeypatch, config, "--work-dir", tmp_path, "--resume")
    assert_same_outcome(tmp_path, calibrated("retinanet").work_dir)
