"""A recommender from float weights to a reloaded quantized checkpoint, and what users get wrong."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.runner import CalibrationRunner
from tests.recommendation_support import PairsProject, make_pairs_project
from tests.tiny_project import REPO

# Every kind of step that treats tables in a way of its own.
MIXED = dict(type="MixedPrecision", size_mb="W4A8")
STEPS: dict[str, list[dict[str, Any]]] = {
    "GPTQ": [MIXED, dict(type="GPTQ")],
    "BiasCorrection+QDrop": [
        MIXED,
        dict(type="BiasCorrection", mode="measured"),
        dict(type="QDrop", preset="fast", iters=3, batch_size=4),
    ],
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


@pytest.mark.parametrize("name", STEPS)
def test_other_steps(name: str, project: PairsProject, tmp_path: Path) -> None:
    cfg = project.load("ncf_ml1m_w4a8_mmse", tmp_path, calib_hooks=dict(report=None))
    cfg.calib_cfg = dict(method=name, num_images=8, batch_size=4, baseline=False, steps=STEPS[name])
    runner = CalibrationRunner.from_cfg(cfg)
    rows = runner.calibrate().rows
    assert [row.method for row in rows] == ["float", name]
    assert 50 < rows[1].metrics["HR@10"] <= 100
    tables = {name: layer for name, layer in runner.model.quant_layers() if "user" in name}
    assert len(tables) == 2
    corrected = {table.bias_correction is not None for table in tables.values()}
    assert corrected == {"BiasCorrection" in name}


def test_a_plain_float_config_and_the_training_set(project: PairsProject, tmp_path: Path) -> None:
    """Without calib_dataloader the pairs are the training set's, though there is no pipeline."""
    cfg = project.load("_base_/ncf_ml1m", tmp_path)
    cfg.pop("calib_dataloader")
    cfg.qconfig = dict(weight=dict(num_bits=8), act=dict(num_bits=8))
    cfg.calib_cfg = dict(num_images=20)
    results = CalibrationRunner.from_cfg(cfg).calibrate()
    assert results.rows[-1].method == "gptq" and results.rows[-1].metrics["HR@10"] > 80


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
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
