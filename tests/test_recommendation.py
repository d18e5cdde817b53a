"""A recommender from float weights to a reloaded quantized checkpoint, and what users get wrong."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.runner import CalibrationRunner
from tests.recommendation_support import ITEMS, PairsProject, make_pairs_project
from tests.tiny_project import REPO

FAST = dict(preset="fast", iters=4, batch_size=4)
RANGES = [dict(type="RangeCalibration")]
RECIPES: dict[str, list[dict[str, Any]]] = {
    "gptq": [*RANGES, dict(type="GPTQ")],
    "bias": [*RANGES, dict(type="BiasCorrection", mode="measured")],
    "qdrop": [*RANGES, dict(type="QDrop", **FAST)],
    "mixed": [*RANGES, dict(type="MixedPrecision", budget="w6a8", bits=[[4, 8], [8, 8]])],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> PairsProject:
    return make_pairs_project(tmp_path_factory.mktemp("pairs"))


def run(monkeypatch: pytest.MonkeyPatch, tool: str, *arguments: Any) -> None:
    monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
    runpy.run_path(str(REPO / "tools" / tool), run_name="__main__")


@pytest.mark.parametrize("name", ["ncf_ml1m_w4a8_mmse", "ncf_ml1m_w8a8_lapq"])
def test_from_float_weights_to_a_reloaded_checkpoint(
    project: PairsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cfg = project.load(name, tmp_path / "run")
    if "lapq" in name:
        cfg.calib_cfg.steps[0].num_points = 3
        cfg.calib_cfg.steps[1].max_evals = 12
    cfg.dump(tmp_path / "config.py")
    run(monkeypatch, "quantize.py", tmp_path / "config.py", "--work-dir", tmp_path / "run")
    results = json.loads((tmp_path / "run/results.json").read_text())
    rows = results["rows"]
    assert [row["method"] for row in rows] == ["float", "minmax", name.rpartition("_")[2]]
    assert rows[0]["HR@10"] == rows[0]["NDCG@10"] == 100
    assert all(0 <= row["NDCG@10"] <= row["HR@10"] <= 100 for row in rows)
    assert rows[1]["size_mb"] < rows[0]["size_mb"] / (2 if "w8" in name else 3)
    assert results["calibration"]["labels"] == ("lapq" in name)
    assert "HR@10" in (tmp_path / "run/report.html").read_text()
    out = tmp_path / "metrics.json"
    files = (tmp_path / "config.py", tmp_path / "run/quantized.pth")
    run(monkeypatch, "test.py", *files, "--out", out, "--work-dir", tmp_path / "test")
    found = json.loads(out.read_text())
    assert found == {f"ranking/{key}": rows[2][key] for key in ("HR@10", "NDCG@10")}


@pytest.mark.parametrize("recipe", RECIPES)
def test_other_recipes(project: PairsProject, tmp_path: Path, recipe: str) -> None:
    cfg = project.load("ncf_ml1m_w4a8_mmse", tmp_path, calib_hooks=dict(report=None))
    cfg.calib_cfg = dict(method=recipe, num_images=8, batch_size=4, steps=RECIPES[recipe])
    row = CalibrationRunner.from_cfg(cfg).calibrate().rows[-1]
    assert row.method == recipe and 50 < row.metrics["HR@10"] <= 100


def test_a_plain_float_config_and_the_training_set(project: PairsProject, tmp_path: Path) -> None:
    """Without calib_dataloader the pairs are the training set's, though there is no pipeline."""
    cfg = project.load("_base_/ncf_ml1m", tmp_path)
    cfg.pop("calib_dataloader")
    cfg.qconfig = dict(weight=dict(num_bits=8), act=dict(num_bits=8))
    cfg.calib_cfg = dict(num_images=20)
    results = CalibrationRunner.from_cfg(cfg).calibrate()
    assert results.rows[-1].method == "mmse" and results.rows[-1].metrics["HR@10"] > 80


def test_equal_runs_draw_equal_pairs(project: PairsProject, tmp_path: Path) -> None:
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        cfg = project.load("ncf_ml1m_w8a8_mmse", tmp_path / str(seed))
        data = CalibrationRunner.from_cfg(cfg).setup().data
        drawn.append([torch.stack(batch["inputs"]) for _, batch in data])
    assert len(drawn[0]) == 3
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))


def test_held_out_users(
    project: PairsProject, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Calibrated on the lists of some users, tested on those of others."""
    calib = "calib_dataloader.dataset"
    changes = {
        f"{calib}.type": "mmptq.CandidateLists",
        f"{calib}.ann_file": "ml-1m.test.negative",
        f"{calib}.users": (0, 12),
        "calib_cfg.num_images": 48,
    }
    cfg = project.load("ncf_ml1m_w8a8_mmse", tmp_path, **changes)
    CalibrationRunner.from_cfg(cfg).setup()
    assert "calibration images are in the test set" in capfd.readouterr().err
    cfg.test_dataloader.dataset.users = (12, 24)
    runner = CalibrationRunner.from_cfg(cfg)
    runner.setup()
    assert "are in the test set" not in capfd.readouterr().err
    assert len(runner.test_set) == 12


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model.num_items": ITEMS - 1}, CalibrationDataError, "num_items = 40, the model 39"),
        ({"model.num_users": 0}, ConfigError, r"model\.num_users = 0"),
        ({"test_dataloader.dataset.num_negatives": 4}, ConfigError, "5 items; HR@10 ranks one"),
        ({"test_evaluator.k": 0}, ConfigError, r"test_evaluator\.k = 0"),
        (
            {"calib_dataloader.dataset.ann_file": "x"},
            CalibrationDataError,
            "cannot read .*x; check",
        ),
        (
            {
                "calib_cfg.steps": [
                    dict(type="LpInterpolation", objective=dict(type="CrossEntropy"))
                ]
            },
            ConfigError,
            "CrossEntropy reads a classifier's logits",
        ),
    ],
)
def test_config_that_cannot_work(
    project: PairsProject, tmp_path: Path, changes: dict[str, Any], error: type, words: str
) -> None:
    cfg = project.load("ncf_ml1m_w8a8_mmse", tmp_path, **changes)
    if "model.num_items" in changes or "model.num_users" in changes:
        cfg.load_from = str(tmp_path / "float.pth")
        torch.save(dict(state_dict={}), cfg.load_from)
    with pytest.raises(error, match=words):
        CalibrationRunner.from_cfg(cfg).calibrate()


def test_export_is_refused(
    project: PairsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'mmptq[onnx]'")
    cfg = project.load("ncf_ml1m_w8a8_mmse", tmp_path / "run", calib_hooks=dict(report=None))
    cfg.dump(tmp_path / "config.py")
    CalibrationRunner.from_cfg(cfg).calibrate()
    files = (tmp_path / "config.py", tmp_path / "run/quantized.pth")
    with pytest.raises((ConfigError, SystemExit)) as caught:
        run(monkeypatch, "export.py", *files, "--work-dir", tmp_path / "export")
    assert "cannot be exported" in str(caught.value)
