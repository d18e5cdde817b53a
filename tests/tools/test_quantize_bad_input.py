"""Bad input ends tools/quantize.py with one clear line, before long work, and costs nothing."""

import json
import logging
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from tests.tiny_project import NUM_TRAIN, REPO, SIZES, write_annotations

QUANTIZE = REPO / "tools/quantize.py"
Quantize = Callable[..., str]


@pytest.fixture
def old_run(tmp_path: Path) -> dict[Path, bytes]:
    """What an earlier run left in the work dir, which no refused run may touch."""
    files = {
        tmp_path / "run" / name: name.encode()
        for name in ("quantized.pth", "results.json", "stages/statistics.pth", "bad.py")
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return files


def forget_started(old_run: dict[Path, bytes]) -> None:
    """Of an earlier run, a run without --resume replaces these once it gets to work."""
    for path in [path for path in old_run if path.name in ("statistics.pth", "bad.py")]:
        del old_run[path]


@pytest.fixture
def refused(
    old_run: dict[Path, bytes], tiny_project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Quantize:
    """``refused(changes, *options, family)``: the message with which the command ends.

    ``changes`` are lines of a config that inherits the project's.
    """

    # Asking every compiler for its version takes longer than all the rest.
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)

    def run(changes: str = "", *options: Any, family: str = "retinanet") -> str:
        config = tmp_path / "bad.py"
        config.write_text(f"_base_ = [{str(tiny_project(family).config)!r}]\n{changes}\n")
        arguments = [config, "--work-dir", tmp_path / "run", *options]
        monkeypatch.setattr(sys, "argv", ["quantize.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(QUANTIZE), run_name="__main__")
        # A string as the code: Python prints it to stderr and exits with 1.
        assert isinstance(stopped.value.code, str)
        assert stopped.value.code.startswith("error: ")
        assert {path: path.read_bytes() for path in old_run} == old_run
        return stopped.value.code

    return run


@pytest.fixture
def data(tiny_project: Any, tmp_path: Path) -> Path:
    """A copy of the project's data that may be spoilt; for ``--data-root``."""
    folder = tmp_path / "data"
    shutil.copytree(tiny_project("retinanet").root, folder)
    return folder


def assert_words(message: str, *words: Any) -> None:
    assert [str(word) for word in words if str(word) not in message] == [], message


# -- the command line ---------------------------------------------------------------------------


def test_exit_code_is_1_and_stderr_has_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, QUANTIZE, tmp_path / "none.py"],
        env={"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        f"error: there is no config file {tmp_path}/none.py"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--qconfig", "--recipe"])
def test_config_file_of_an_option_is_missing(option, refused):
    assert_words(refused("", option, "no/w4a4.py"), "there is no config file no/w4a4.py")


def test_config_that_does_not_parse(refused):
    assert_words(refused("qconfig = dict("), "cannot parse the config", "bad.py")


def test_option_that_fits_no_config(refused):
    message = refused("", "--cfg-options", "calib_cfg.steps.7.act.p=3")
    assert_words(message, "--cfg-options", "steps.7")


def test_option_that_is_a_dict(refused):
    message = refused("", "--cfg-options", "qconfig.target=dict(type='openvino',reduce_range=True)")
    assert_words(message, "--cfg-options", "one by one", "qconfig.target.type=")


# -- the config ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "value"),
    [("weight", v) for v in ("0", "-1", "33", "'4'", "float('nan')")]
    + [("act", v) for v in ("0", "'4'", "True")],
)
def test_bit_width(which, value, refused):
    message = refused(f"qconfig = dict({which}=dict(num_bits={value}))")
    assert_words(message, f"qconfig.{which}.num_bits = {eval(value)!r}", "[1, 16]")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("qconfig = dict(overides=[])", ["qconfig.overides", "did you mean 'overrides'"]),
        ("calib_cfg = dict(num_image=4)", ["calib_cfg.num_image", "did you mean 'num_images'"]),
        ("calib_cfg = dict(num_images=0)", ["calib_cfg.num_images = 0"]),
        ("calib_cfg = dict(num_images=2.5)", ["calib_cfg.num_images = 2.5"]),
        ("calib_cfg = dict(cache_gb='4')", ["calib_cfg.cache_gb = '4'"]),
        ("calib_cfg = dict(baseline='no')", ["calib_cfg.baseline = 'no'"]),
        ("calib_cfg = dict(steps=[])", ["calib_cfg.steps"]),
        (
            "calib_cfg = dict(steps=[dict(type='RangeCalibraton')])",
            ["calib_cfg.steps[0].type", "did you mean 'RangeCalibration'"],
        ),
        (
            "calib_cfg = dict(steps=[dict(type='RangeCalibration', wieght=dict())])",
            ["calib_cfg.steps[0].wieght", "RangeCalibration"],
        ),
        (
            "from_config = dict(type='LpNormObserve')\n"
            "calib_cfg = dict(steps=[dict(type='RangeCalibration', act=from_config)])",
            ["RangeCalibration.act.type", "did you mean 'LpNormObserver'"],
        ),
        (
            "qconfig = dict(overrides=[dict(pattern='backbone.layer9.*', act=None)])",
            ["qconfig.overrides[0].pattern = 'backbone.layer9.*'", "backbone.layer"],
        ),
        ("qconfig = dict(scope='all')", ["qconfig.scope = 'all'", "backbone_neck"]),
        ("qconfig = None", ["'qconfig'", "--qconfig"]),
        ("test_dataloader = None", ["'test_dataloader'"]),
        ("test_evaluator = None", ["'test_evaluator'"]),
        (
            "train_dataloader = train_cfg = optim_wrapper = param_scheduler = None",
            ["train_dataloader", "calib_dataloader"],
        ),
        ("load_from = None", ["load_from", "--checkpoint"]),
        ("model = dict(detector_type='RetinaNett')", ["RetinaNett"]),
        ("model = dict(bakbone=dict(type='ResNet'))", ["bakbone"]),
        ("calib_hooks = dict(save=dict(file_name='q.pth'))", ["calib_hooks.save", "file_name"]),
        ("calib_hooks = dict(saves=None)", ["calib_hooks.saves", "did you mean 'save'"]),
    ],
)
def test_config_entry(changes, words, refused):
    assert_words(refused(changes), *words)


def test_model_that_no_adapter_handles(refused):
    @MODELS.register_module(name="ToyDetector", force=True)
    class ToyDetector(nn.Module):
        pass

    changes = "model = dict(_delete_=True, type='mmptq.QuantDetector', detector_type='ToyDetector')"
    message = refused(changes)
    assert_words(message, "ToyDetector", "DetectorAdapter", "mmptq/adapters/")


# -- the data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.json", "val.json"])
def test_annotation_file_is_missing(name, data, refused):
    (data / name).unlink()
    message = refused("", "--data-root", data)
    assert_words(message, name, data, "--data-root")


def test_evaluators_annotation_file_is_missing(refused):
    message = refused("test_evaluator = dict(ann_file='none.json')")
    assert_words(message, "test_evaluator", "none.json")


def test_annotation_file_is_garbage(data, refused):
    (data / "train.json").write_text('{"images": [')
    assert_words(refused("", "--data-root", data), "train.json", data)


@pytest.mark.parametrize("annotations", ["none", "of other classes"])
def test_no_image_is_left(annotations, data, refused):
    sizes = [SIZES[i % len(SIZES)] for i in range(NUM_TRAIN)]
    objects = [[] if annotations == "none" else [([1.0, 1, 9, 9], 0)]] * NUM_TRAIN
    write_annotations(data / "train.json", sizes, objects)
    if annotations != "none":
        content = json.loads((data / "train.json").read_text())
        for category in content["categories"]:
            category["name"] += "-like"
        (data / "train.json").write_text(json.dumps(content))
    message = refused("", "--data-root", data)
    assert_words(message, "calibration set is empty", "filter_cfg", "metainfo")


def test_more_images_than_there_are(refused):
    message = refused("calib_cfg = dict(num_images=10)")
    assert_words(message, "calib_cfg.num_images = 10", "9 images", "set it to 9")


@pytest.mark.parametrize("split", ["train", "val"])
def test_images_are_missing(split, data, refused):
    (data / split / "2.png").unlink()
    message = refused("calib_cfg = dict(num_images=9)", "--data-root", data)
    assert_words(message, "1 of", f"{split}/2.png", "--data-root")


def spoil(kind: str, image: Path) -> None:
    """Make ``image`` unreadable in one of several ways."""
    if kind == "garbage":
        image.write_bytes(b"no image" * 100)
    elif kind == "empty":
        image.write_bytes(b"")
    elif kind == "truncated png":
        image.write_bytes(image.read_bytes()[:-200])
    elif kind == "truncated jpeg":
        jpeg = cv2.imencode(".jpg", cv2.imread(str(image)))[1].tobytes()
        image.write_bytes(jpeg[: len(jpeg) // 2])


@pytest.mark.parametrize("kind", ["garbage", "empty", "truncated png", "truncated jpeg"])
def test_calibration_image_is_corrupt(kind, data, refused):
    spoil(kind, data / "train/3.png")
    message = refused("calib_cfg = dict(num_images=9)", "--data-root", data)
    assert_words(message, "train/3.png", "replace or remove")


@pytest.mark.parametrize("workers", [0, 1])
def test_test_image_is_corrupt(workers, data, refused, old_run):
    # Decoding the whole test set beforehand would take as long as evaluating it.
    forget_started(old_run)
    spoil("garbage", data / "val/3.png")
    message = refused(
        f"test_dataloader = dict(num_workers={workers})", "--data-root", data, "--skip-baseline"
    )
    assert_words(message, "val/3.png", "test_dataloader", "--resume")


def test_annotation_is_of_an_image_of_another_size(data, refused):
    annotations = json.loads((data / "train.json").read_text())
    annotations["images"][4].update(width=640, height=480)
    (data / "train.json").write_text(json.dumps(annotations))
    message = refused("calib_cfg = dict(num_images=9)", "--data-root", data)
    assert_words(message, "train/4.png is 96x80", "640x480")


def test_calibration_on_the_test_set_warns(tiny_project, tmp_path, monkeypatch):
    project = tiny_project("retinanet")
    config = tmp_path / "leak.py"
    config.write_text(
        f"_base_ = [{str(project.config)!r}]\n"
        "calib_dataloader = dict(dataset=_base_.test_dataloader.dataset)\n"
        "calib_cfg = dict(num_images=4)\n"
    )
    arguments = [config, "--work-dir", tmp_path / "run", "--skip-float", "--skip-baseline"]
    monkeypatch.setattr(sys, "argv", ["quantize.py", *map(str, arguments)])
    runpy.run_path(str(QUANTIZE), run_name="__main__")
    logs = "".join(path.read_text() for path in (tmp_path / "run").glob("*/*.log"))
    warning = next(line for line in logs.splitlines() if "are in the test set" in line)
    assert logging.getLevelName(logging.WARNING) in warning
    assert "4 of 4 calibration images" in warning


# -- the checkpoint -----------------------------------------------------------------------------


def test_checkpoint_is_missing(refused):
    assert_words(refused("", "--checkpoint", "none.pth"), "none.pth", "--checkpoint")


def test_checkpoint_is_garbage(tmp_path, refused):
    path = tmp_path / "garbage.pth"
    path.write_bytes(b"no checkpoint")
    assert_words(refused("", "--checkpoint", path), path)


def test_checkpoint_is_of_another_family(tiny_project, refused):
    path = tiny_project("faster_rcnn").checkpoint
    message = refused("", "--checkpoint", path)
    assert_words(message, path, "another model", "neck.")


def test_quantized_checkpoint_in_place_of_the_float_one(calibrated, refused):
    path = calibrated("retinanet").checkpoint
    assert_words(refused("", "--checkpoint", path), path, "is a quantized checkpoint", "float")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value, tiny_project, tmp_path, refused):
    state = torch.load(tiny_project("retinanet").checkpoint, weights_only=True)["state_dict"]
    state["neck.fpn_convs.1.conv.weight"][3, 2, 1, 0] = value
    torch.save(state, tmp_path / "nan.pth")
    message = refused("", "--checkpoint", tmp_path / "nan.pth")
    assert_words(message, "neck.fpn_convs.1.conv.weight", "1 NaN or Inf")


def test_activations_that_are_no_numbers(tiny_project, tmp_path, refused):
    # Too large for float32 behind this layer, though every weight is finite.
    state = torch.load(tiny_project("retinanet").checkpoint, weights_only=True)["state_dict"]
    state["backbone.layer3.0.bn1.weight"] *= 1e38
    torch.save(state, tmp_path / "large.pth")
    message = refused("", "--checkpoint", tmp_path / "large.pth")
    assert_words(message, "'backbone.layer3.0.conv2'", "Inf", "calibration image")


# -- the work dir -------------------------------------------------------------------------------


def test_work_dir_cannot_be_made(tmp_path, refused):
    (tmp_path / "file").write_text("")
    message = refused("", "--work-dir", tmp_path / "file/run")
    assert_words(message, f"work_dir = '{tmp_path}/file/run' cannot be written")
