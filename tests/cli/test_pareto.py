"""``tools/quantize.py --pareto``: the table, the picture, and a whole sweep."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmptq.cli import pareto as module
from mmptq.evaluation import ResultRow, render
from mmptq.runner.sweep import SweepRun
from tests.tiny_project import REPO

FLOAT = ResultRow("float", "-", 32, 32, metrics={"bbox_mAP": 0.5}, size_mb=52.6, gbops=4493.0)


def point(curve: str, like: str, bits: tuple[float, float], value: float | None) -> dict[str, Any]:
    row = {"w_bits": bits[0], "a_bits": bits[1], "size_mb": bits[0], "gbops": 10.0 * bits[1]}
    metric = {} if value is None else {"bbox_mAP": value}
    return {"run": like, "curve": curve, "like": like, "method": "mmse", **row, **metric}


POINTS = [
    point("uniform", "W4A4", (4, 4), 0.3),
    point("uniform", "W2A4", (2, 4), None),
    point("mixed, size_mb", "W4A4", (4.1, 7.9), 0.475),
]


def test_the_table_has_a_row_a_run() -> None:
    text = render(module.pareto_table(POINTS, FLOAT, "bbox_mAP"), width=120)
    lines = [line.split() for line in text.splitlines() if line.strip()][2:]
    assert lines == [
        ["float", "-", "-", "50.0", "-", "52.6", "4493"],
        ["W4A4", "-", "uniform", "30.0", "-20.0", "4", "40"],
        ["W2A4", "-", "uniform", "-", "-", "2", "40"],
        ["W4.1A7.9", "W4A4", "mixed,", "size_mb", "47.5", "-2.5", "4.1", "79"],
    ]


def test_a_last_run_that_detects_nothing_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = dict(size_mb=1.0, gbops=1.0)
    rows = [
        ResultRow("mmse", "full", 4, 4, metrics={"bbox_mAP": 0.3}, **costs),
        ResultRow("mmse", "full", 2, 4, **costs),
    ]
    runs = [SweepRun(row.bits, ("gbops",), row.bits, Config()) for row in rows]
    monkeypatch.setattr(module, "sweep_runs", lambda *_: runs)
    monkeypatch.setattr(module, "check_run", lambda _: None)
    monkeypatch.setattr(
        module, "run_sweep", lambda _: zip(runs, ([row] for row in rows), strict=True)
    )
    module.pareto(Config(dict(work_dir=str(tmp_path))), [], [])
    found = json.loads((tmp_path / "pareto.json").read_text())
    assert found["metric"] == "bbox_mAP" and found["float"] is None
    assert [point.get("bbox_mAP") for point in found["points"]] == [0.3, None]


def test_the_picture_is_drawn_with_and_without_a_float_model(tmp_path: Path) -> None:
    module.draw_pareto(POINTS, FLOAT, "bbox_mAP", tmp_path / "a.png")
    module.draw_pareto(POINTS, None, None, tmp_path / "b.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert (tmp_path / "b.png").stat().st_size > 3000


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["quantize.py", *map(str, arguments)])
    runpy.run_path(str(REPO / "tools/quantize.py"), run_name="__main__")


def test_a_sweep_and_the_same_again(
    tiny_project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (
        tiny_project("retinanet").config, "--work-dir", tmp_path,
        "--pareto", "W4A4", "--uniform", "W4A4",
        "--cfg-options", "calib_cfg.num_images=2", "calib_hooks.pictures=None",
    )  # fmt: skip
    run(monkeypatch, *arguments)
    found = json.loads((tmp_path / "pareto.json").read_text())
    assert [p["like"] for p in found["points"]] == ["W4A4"] * 3
    assert found["metric"] == "bbox_mAP" and found["float"]["bbox_mAP"] > 0
    uniform = next(p for p in found["points"] if p["run"] == "uniform_w4a4")
    by_size, by_bops = found["points"][-2:]
    assert by_size["size_mb"] <= uniform["size_mb"] * (1 + 1e-6)
    assert by_bops["gbops"] <= uniform["gbops"] * (1 + 1e-6)
    before = (tmp_path / "pareto.png").stat().st_mtime_ns
    monkeypatch.setattr("mmptq.algorithms.RangeCalibration.run", None)
    run(monkeypatch, *arguments, "--resume")
    again = json.loads((tmp_path / "pareto.json").read_text())
    assert again == found and (tmp_path / "pareto.png").stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pareto", "4-4"), "--pareto 4-4"),
        (("--pareto", "--uniform", "W4"), "--uniform W4"),
        (("--pareto", "--export", "openvino"), "--pareto makes many models"),
        (("--static",), "--static: .* needs --export"),
    ],
)
def test_bad_input(
    tiny_project: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, tiny_project("retinanet").config, "--work-dir", tmp_path, *arguments)
