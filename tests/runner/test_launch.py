"""Configs by the name of their package, and where their results go."""

from pathlib import Path

import pytest
import torch

from mmptq.errors import ConfigError
from mmptq.runner.launch import (
    default_work_dir,
    init_processes,
    packaged_config,
    read_config,
)
from tests.tiny_project import REPO

STOCK = "retinanet/retinanet_r50_fpn_1x_coco.py"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (f"mmdet::{STOCK}", "RetinaNet"),
        ("mmdet::retinanet/retinanet_r50_fpn_1x_coco", "RetinaNet"),
        ("mmdet::gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco.py", "FasterRCNN"),
        ("mmptq::retinanet/r50_w4a4.py", "mmptq.QuantDetector"),
    ],
)
def test_config_of_a_package(name, model):
    assert read_config(name).model.type == model


def test_pure_python_config_of_a_package(tmp_path, monkeypatch):
    folder = tmp_path / "some_detectors/configs/retinanet"
    folder.mkdir(parents=True)
    (tmp_path / "some_detectors/__init__.py").write_text("")
    (folder / "own.py").write_text("a = 1")
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_config("some_detectors::retinanet/own.py") == folder / "own.py"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mmdet::retinanet/retinanet_r50_fpn_1x.py",
            f"no config file .*did you mean mmdet::{STOCK}",
        ),
        ("mmdet::", "no config file mmdet::"),
        ("nodet::retinanet/a.py", "no package 'nodet'"),
        ("no det::a.py", "no package 'no det'"),
        ("no/such.py", "no config file no/such.py"),
    ],
)
def test_config_that_is_not_there(name, message):
    with pytest.raises(ConfigError, match=message):
        read_config(name)


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        ("configs/retinanet/r50_w4a4.py", "work_dirs/retinanet_r50_w4a4"),
        (f"configs/{STOCK}", "work_dirs/retinanet_r50_fpn_1x_coco"),
        ("elsewhere/my.py", "work_dirs/my"),
    ],
)
def test_default_work_dir(config, folder):
    assert default_work_dir(config) == folder


def test_work_dir_of_a_packaged_config():
    config = read_config(f"mmdet::{STOCK}")
    assert default_work_dir(config.filename) == "work_dirs/retinanet_r50_fpn_1x_coco"
    assert Path(read_config(str(REPO / "configs/retinanet/r50_w4a4.py")).filename).is_absolute()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("launcher", ["slurm", "mpi"])
def test_a_launcher_that_needs_a_gpu(launcher):
    with pytest.raises(ConfigError, match=rf"--launcher {launcher}: .* --launcher pytorch"):
        init_processes(launcher)
