"""A classifier from float weights to a reloaded quantized checkpoint, and what users get wrong."""

import json
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.runner import CalibrationRunner
from tests.classification_support import ClassProject, make_class_project
from tests.conftest import randomise
from tests.tiny_project import REPO

FAST = dict(preset="fast", iters=6, batch_size=4)
RECIPES: dict[str, list[dict[str, Any]]] = {
    "qdrop": [dict(type="QDrop", **FAST)],
    "bitshrink": [dict(type="BitShrinking", **FAST)],
    "lapq": [
        dict(type="LpInterpolation", num_points=3, objective=dict(type="CrossEntropy")),
        dict(type="JointSearch", max_evals=15, objective=dict(type="CrossEntropy")),
    ],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> ClassProject:
    return make_class_project(tmp_path_factory.mktemp("classes"), randomise)


@pytest.fixture
def copied(project: ClassProject, tmp_path: Path) -> ClassProject:
    """The project's own copy, to be broken."""
    root = shutil.copytree(project.root, tmp_path / "copy")
    text = project.config.read_text().replace(str(project.root), str(root))
    (root / "config.py").write_text(text)
    return ClassProject(root, root / "config.py")


def run(monkeypatch: pytest.MonkeyPatch, tool: str, *arguments: Any) -> None:
    monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
    runpy.run_path(str(REPO / "tools" / tool), run_name="__main__")


@pytest.mark.parametrize("recipe", [None, *RECIPES])
def test_from_float_weights_to_a_reloaded_checkpoint(
    project: ClassProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str | None
) -> None:
    cfg = project.load(tmp_path / "run")
    if recipe:
        cfg.calib_cfg.steps += RECIPES[recipe]
        cfg.calib_cfg.method = recipe
    cfg.dump(tmp_path / "config.py")
    run(monkeypatch, "quantize.py", tmp_path / "config.py", "--work-dir", tmp_path / "run")
    rows = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["float", "minmax", recipe or "mmse"]
    assert rows[0]["top1"] == rows[0]["top2"] == 100
    assert all(0 <= row["top1"] <= row["top2"] <= 100 for row in rows)
    assert rows[1]["size_mb"] < rows[0]["size_mb"] / 6
    assert not any(key.startswith("bbox") for row in rows for key in row)
    out = tmp_path / "metrics.json"
    files = (tmp_path / "config.py", tmp_path / "run/quantized.pth")
    run(monkeypatch, "test.py", *files, "--out", out, "--work-dir", tmp_path / "test")
    metrics = json.loads(out.read_text())
    assert metrics == {f"accuracy/{key}": rows[2][key] for key in ("top1", "top2")}


def test_plain_float_config_and_zip_archives(
    copied: ClassProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "test"):
        shutil.make_archive(str(copied.root / split), "zip", copied.root, split)
        shutil.rmtree(copied.root / split)
    cfg = Config.fromfile(copied.config)
    cfg.model.type = cfg.model.pop("classifier_type")
    cfg.pop("qconfig")
    cfg.calib_cfg = dict(method="mmse", num_images=4, steps=cfg.calib_cfg.steps)
    cfg.data_root = cfg.train_dataloader.dataset.data_root = "data/elsewhere/"
    cfg.test_dataloader.dataset.data_root = "data/elsewhere/"
    cfg.load_from = "data/elsewhere/float.pth"
    cfg.dump(tmp_path / "float.py")
    run(
        monkeypatch,
        "quantize.py",
        tmp_path / "float.py",
        "--work-dir",
        tmp_path / "run",
        "--qconfig",
        REPO / "configs/_base_/quant/w8a8.py",
        "--data-root",
        copied.root,
    )
    rows = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    assert rows[0]["top1"] == 100


def test_statistics_do_not_move_batch_norms(project: ClassProject, tmp_path: Path) -> None:
    runner = CalibrationRunner.from_cfg(project.load(tmp_path))
    runner.setup()
    state = runner.model.model.state_dict()
    wanted = torch.load(project.root / "float.pth", weights_only=True)
    assert all(torch.equal(state[key], value) for key, value in wanted.items())


def calibrate(project: ClassProject, tmp_path: Path, **changes: Any) -> None:
    CalibrationRunner.from_cfg(project.load(tmp_path / "bad", **changes)).calibrate()


def test_missing_folder(copied: ClassProject, tmp_path: Path) -> None:
    shutil.rmtree(copied.root / "train")
    with pytest.raises(CalibrationDataError, match=r"no folder .*train and no train.zip"):
        calibrate(copied, tmp_path)


def test_class_without_images(copied: ClassProject, tmp_path: Path) -> None:
    for path in (copied.root / "test/bee").iterdir():
        path.unlink()
    with pytest.raises(CalibrationDataError, match="class folder bee holds no image"):
        calibrate(copied, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_corrupt_image(copied: ClassProject, tmp_path: Path, split: str, content: bytes) -> None:
    for path in (copied.root / split / "cat").iterdir():
        path.write_bytes(content)
    with pytest.raises(CalibrationDataError, match=r"(?s)cat/\d+\.png.*(replace|remove)"):
        calibrate(copied, tmp_path)


def test_other_number_of_classes(copied: ClassProject, tmp_path: Path) -> None:
    shutil.rmtree(copied.root / "test/bee")
    with pytest.raises(CalibrationDataError, match=r"test set has 2 classes .*the model 3; check"):
        calibrate(copied, tmp_path)


def test_batches_are_for_classifiers(tiny_project: Any, tmp_path: Path) -> None:
    cfg = tiny_project("retinanet").load(tmp_path, **{"calib_cfg.batch_size": 2})
    with pytest.raises(ConfigError, match="batch_size = 2: a RetinaNet calibrates on one image"):
        CalibrationRunner.from_cfg(cfg).calibrate()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calib_cfg.batch_size": 0}, "calib_cfg.batch_size = 0"),
        ({"calib_cfg.units": "layer1"}, "calib_cfg.units = 'layer1': must be a list"),
        ({"calib_cfg.units": ["stage*"]}, r"calib_cfg.units: 'stage\*' matches no module"),
        ({"model.depth": 9}, "model.depth = 9"),
    ],
)
def test_config_that_cannot_work(
    project: ClassProject, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        calibrate(project, tmp_path, **changes)


def test_mmpretrain_models() -> None:
    """MMPretrain's own classifier class goes through the same wrapper."""
    mmpretrain = pytest.importorskip(
        "mmpretrain", reason="mmpretrain is not installed: it needs torchvision", exc_type=Exception
    )
    from mmptq.adapters import ClassifierAdapter, find_adapter
    from mmptq.models import QConfig, QuantClassifier

    cfg = mmpretrain.get_model("resnet18_8xb32_in1k", pretrained=False)._config.model
    model = QuantClassifier(classifier_type=f"mmpretrain.{cfg.pop('type')}", **cfg).eval()
    adapter = find_adapter(model.model)
    assert isinstance(adapter, ClassifierAdapter)
    plan = adapter.plan(QConfig.parse(dict(weight=dict(num_bits=8), act=dict(num_bits=8))))
    assert len(plan.layers) == 21
