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

from mmptq.errors import ConfigError, MmptqError
from mmptq.evaluation import ResultRow, Results
from mmptq.fileio import plain
from mmptq.hooks import SaveQuantizedHook
from mmptq.hooks import save as module
from mmptq.hooks.save import save_checkpoint
from mmptq.models import PACKED_KEY
from mmptq.models.packing import unpack_state


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


def test_a_packed_one_says_the_same_in_fewer_bytes(tmp_path):
    runner = make_runner(tmp_path)
    runner.cfg = Config(dict(model=dict(type="X", pipeline=[dict(type="Y", sizes=(1, 2))] * 30)))
    SaveQuantizedHook(packed=True).after_calibrate(runner, results())
    checkpoint = torch.load(tmp_path / "quantized.pth", weights_only=True)
    assert list(checkpoint["state_dict"]) == [PACKED_KEY]
    meta, text = checkpoint["meta"], runner.cfg.pretty_text
    assert meta["dataset_meta"]["classes"] == ["cat", "dog"] and "results" not in meta
    assert Config.fromstring(meta["cfg"], ".py").to_dict() == runner.cfg.to_dict()
    assert len(meta["cfg"]) < 0.8 * len(text)
    state = dict(checkpoint["state_dict"])
    unpack_state(state, "")
    assert state.keys() == runner.model.state_dict().keys()


def test_a_config_that_is_no_code_stays_as_it_is(tmp_path):
    save_checkpoint(tmp_path / "q.pth", nn.Linear(1, 1), {"cfg": "a = <object at 0>"}, packed=True)
    assert torch.load(tmp_path / "q.pth", weights_only=True)["meta"]["cfg"] == "a = <object at 0>"


def test_weights_that_stay_in_float_are_named(tmp_path, make_quantized, monkeypatch):
    said = []
    monkeypatch.setattr(module, "print_log", lambda text, **_: said.append(text))
    model = make_quantized("retinanet", weight=dict(num_bits=3.5), act=dict(num_bits=4))
    save_checkpoint(tmp_path / "q.pth", model, {}, packed=True)
    (text,) = said
    assert "31 quantized weights are stored in float, first 'detector.backbone.layer1" in text
    assert text.endswith("3.5 bits are no whole number")


def test_packed_is_a_switch():
    with pytest.raises(ConfigError, match="calib_hooks.save.packed = 'yes'"):
        SaveQuantizedHook(packed="yes")


def test_mmengine_loads_it(tmp_path):
    runner = make_runner(tmp_path)
    SaveQuantizedHook("deep/q.pth").after_calibrate(runner, results())
    fresh = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    load_checkpoint(fresh, str(tmp_path / "deep" / "q.pth"), map_location="cpu", strict=True)
    for key, value in runner.model.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value)


@pytest.mark.parametrize("packed", [False, True])
def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, packed):
    path = tmp_path / "quantized.pth"
    path.write_bytes(b"old")
    runner = make_runner(tmp_path, nn.Linear(300, 300))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(MmptqError, match="quantized.pth"):
            SaveQuantizedHook(packed=packed).after_calibrate(runner, results())
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
