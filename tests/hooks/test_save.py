import os
import resource
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn

from mmptq.errors import MmptqError
from mmptq.evaluation import ResultRow, Results
from mmptq.fileio import plain
from mmptq.hooks import SaveQuantizedHook
from mmptq.hooks import save as module


def make_runner(work_dir, model=None):
    torch.manual_seed(0)
    meta = {
        "classes": ("cat", "dog"),
        "palette": [(np.uint8(1), 2, 3), (4, 5, 6)],
        "n": np.int64(2),
    }
    return SimpleNamespace(
        work_dir=str(work_dir),
        model=model or nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
        cfg=Config(dict(model=dict(type="X"), lr=0.1)),
        visualizer=SimpleNamespace(dataset_meta=meta),
        seed=3,
        experiment_name="exp",
    )


def results():
    return Results("c.py", Path("w.pth"), rows=[ResultRow("float", "-", 32, 32, {"bbox_mAP": 0.5})])


def test_checkpoint_loads_with_plain_types_only(tmp_path):
    runner = make_runner(tmp_path)
    SaveQuantizedHook().after_calibrate(runner, results())
    assert os.listdir(tmp_path) == ["quantized.pth"]
    checkpoint = torch.load(tmp_path / "quantized.pth", weights_only=True)
    meta = checkpoint["meta"]
    assert meta["dataset_meta"]["classes"] == ["cat", "dog"]
    assert meta["dataset_meta"]["palette"] == [[1, 2, 3], [4, 5, 6]]
    assert meta["dataset_meta"]["n"] == 2
    assert Config.fromstring(meta["cfg"], ".py").lr == 0.1
    assert (meta["epoch"], meta["iter"], meta["seed"]) == (0, 0, 3)
    assert meta["results"]["rows"][0]["bbox_mAP"] == 0.5


def test_mmengine_loads_it(tmp_path):
    runner = make_runner(tmp_path)
    SaveQuantizedHook("deep/q.pth").after_calibrate(runner, results())
    fresh = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    load_checkpoint(fresh, str(tmp_path / "deep" / "q.pth"), map_location="cpu", strict=True)
    for key, value in runner.model.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value)


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "quantized.pth"
    path.write_bytes(b"old")
    runner = make_runner(tmp_path, nn.Linear(300, 300))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(MmptqError, match="quantized.pth"):
            SaveQuantizedHook().after_calibrate(runner, results())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["quantized.pth"]


def test_only_the_main_process_saves(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "is_main_process", lambda: False)
    SaveQuantizedHook().after_calibrate(make_runner(tmp_path), results())
    assert os.listdir(tmp_path) == []


def test_plain_values():
    value = plain(
        {
            "a": (1, np.float32(0.5)),
            2: np.arange(2),
            "p": Path("x"),
            "s": {3, 1},
            "n": None,
            "b": True,
        }
    )
    assert value == {"a": [1, 0.5], 2: [0, 1], "p": "x", "s": [1, 3], "n": None, "b": True}
    assert type(value["a"][1]) is float and value["b"] is True
