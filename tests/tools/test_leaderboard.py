"""tools/leaderboard.py, from runs to files."""

import json
import os
import runpy
import sys

import pytest

from mmptq.evaluation.test_set import digest
from tests.leaderboard_support import (
    float_row,
    results,
    row,
    write_detections,
    write_run,
    write_truth,
)
from tests.tiny_project import REPO


def run_tool(monkeypatch, name, *arguments):
    """The command in this process, without the seconds that the imports take."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    runpy.run_path(str(REPO / f"tools/{name}.py"), run_name="__main__")


@pytest.fixture
def leaderboard(monkeypatch):
    return lambda *arguments: run_tool(monkeypatch, "leaderboard", *arguments)


def test_three_files_of_many_runs(leaderboard, tmp_path, capsys):
    for seed in (0, 1):
        rows = (float_row(), row("mmse", 0.5 + seed / 100))
        write_run(tmp_path / str(seed), results(*rows, seed=seed))
    leaderboard(tmp_path, "--out", tmp_path / "board", "--title", "Mine & yours")
    files = sorted(path.name for path in (tmp_path / "board").iterdir())
    assert files == ["leaderboard.csv", "leaderboard.html", "leaderboard.md"]
    assert "| **50.5 ± 0.7** |" in (tmp_path / "board/leaderboard.md").read_text()
    assert "<h1>Mine &amp; yours</h1>" in (tmp_path / "board/leaderboard.html").read_text()
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "d/val.json (CocoDataset, 4 images): 2 runs, 2 rows"
    assert told[-1].endswith("board/leaderboard.html")


def test_intervals_and_their_notes(leaderboard, tmp_path, capsys):
    test = write_truth(tmp_path / "val.json")
    write_detections(tmp_path / "run", "float", [0, 0, 0, 0])
    write_detections(tmp_path / "run", "mmse", [0, 0, 0, 0])
    write_run(tmp_path / "run", results(float_row(1.0), row("mmse", 0.5), test=test))
    leaderboard(tmp_path, "--out", tmp_path / "board", "--samples", 20)
    assert "100.0 (100.0 to 100.0)" in (tmp_path / "board/leaderboard.md").read_text()
    assert "No interval of mmse: the boxes in" in capsys.readouterr().out
    leaderboard(tmp_path, "--out", tmp_path / "board", "--samples", 0)
    assert " to " not in (tmp_path / "board/leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "error: no results.json in"),
        ('{"rows": ', "error: .*results.json is not JSON"),
        (results(), "error: .*results.json: rows is empty"),
        (results() | {"schema": 7}, "error: .*results.json: schema = 7: this mmptq reads"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(leaderboard, tmp_path, data, message):
    (tmp_path / "runs").mkdir()
    if data is not None:
        write_run(tmp_path / "runs/a", data)
    with pytest.raises(SystemExit, match=message):
        leaderboard(tmp_path / "runs", "--out", tmp_path / "board")
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_named(leaderboard, tmp_path, place):
    write_run(tmp_path / "run", results(row("mmse", 0.5)))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit, match="error: cannot write .*leaderboard.csv.*--out"):
        leaderboard(tmp_path / "run", "--out", tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_names_that_no_encoding_has(leaderboard, tmp_path):
    write_run(tmp_path / "run", results(row("half \ud800", 0.5), method="half \ud800"))
    folder = os.fsdecode(os.fsencode(tmp_path / "run") + b"\xff")
    os.rename(tmp_path / "run", folder)
    leaderboard(tmp_path, "--out", tmp_path / "board")
    assert "run%FF/results.json" in (tmp_path / "board/leaderboard.html").read_text()


def test_a_run_that_keeps_its_detections(tiny_project, monkeypatch, tmp_path, leaderboard):
    config = tiny_project("retinanet").config
    run_tool(monkeypatch, "quantize", config, "--work-dir", tmp_path / "run", "--keep-detections")
    kept = sorted(path.name for path in (tmp_path / "run/detections").iterdir())
    assert kept == ["float.bbox.json", "minmax.bbox.json", "mmse.bbox.json"]
    told = json.loads((tmp_path / "run/results.json").read_text())
    assert told["test"]["sha256"] == digest(told["test"]["annotations"]) is not None
    assert (told["calibration"]["labels"], told["calibration"]["seed"]) == (False, 0)
    leaderboard(tmp_path / "run", "--out", tmp_path / "board", "--samples", 20)
    text = (tmp_path / "board/leaderboard.md").read_text()
    # Three mAPs, two differences; there would be none if the boxes were not those of the rows.
    assert text.count(" to ") == 5
    assert "CocoDataset, 5 images" in text
