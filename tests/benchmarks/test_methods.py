"""benchmarks/methods.py: from the command line to tables and an exit status."""

import json

import numpy as np
import pytest

from mmptq.errors import ConfigError


@pytest.fixture
def methods(monkeypatch, tmp_path):
    """The command with a stand-in for the runs: min-max fails, others have draws around 50."""
    import methods

    def measure(cell, places, work_dir):
        if cell.spec is not None and cell.spec.key == "minmax":
            raise RuntimeError("no luck")
        cell.folder(work_dir).mkdir(parents=True)
        np.save(cell.folder(work_dir) / "draws.npy", np.full(1000, 50.0, np.float32))
        return {"bbox_mAP": 0.5, "recipe": cell.steps, "images": 32, "cell_seconds": 1.0}

    monkeypatch.setattr(methods, "measure", measure)
    return methods


@pytest.fixture
def call(methods, tmp_path):
    """The status of the command with these arguments, on the demo RetinaNet at W4A4."""
    shared = ["--models", "demo_retinanet", "--columns", "W4A4", "--json", str(tmp_path / "c.json")]
    return lambda *more: methods.main([*shared, "--work-dir", str(tmp_path / "work"), *more])


def test_cells_tables_and_status(call, capsys, tmp_path):
    assert call("--methods", "minmax", "mmse", "--markdown") == 1
    out, error = capsys.readouterr()
    assert "| MMSE | 0 | 50.0 |  | +0.0 (+0.0 to +0.0) |" in out
    assert "failed: demo_retinanet/minmax/W4A4/seed0: RuntimeError: no luck" in error
    cells = json.loads((tmp_path / "c.json").read_text())
    assert sorted(cells) == ["demo_retinanet/float", "demo_retinanet/mmse/W4A4/seed0"]
    intervals = json.loads((tmp_path / "c_intervals.json").read_text())
    assert intervals["demo_retinanet/W4A4/mmse"]["float"]["difference"] == 0.0

    assert call("--methods", "mmse") == 0
    assert "MMSE" in capsys.readouterr().out


def test_printing_shows_every_measured_method_and_needs_no_data(call, capsys):
    call("--methods", "bitshrink@50", "mmse")
    capsys.readouterr()
    assert call("--print-only", "--markdown", "--data", "/nowhere") == 0
    rows = [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[4:] if line]
    assert rows == ["| MMSE", "| Bit-shrinking@50"]


def test_a_dry_run_writes_nothing(call, capsys, tmp_path):
    assert call("--methods", "mmse", "--dry-run") == 0
    assert "2 of 2 cells to measure" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--models", "yolo"], "no model 'yolo'.*Known: demo_retinanet"),
        (["--columns", "W4"], "no column 'W4'; known: W8A8"),
        (["--methods", "best"], "no method 'best'.*Known: minmax"),
        (["--against", "best"], "no method 'best'"),
        (["--models", "bccd_retinanet"], "needs the set bccd.*--data-root bccd=DIR"),
        (["--seeds", "0", "-1"], "--seeds -1: must be 0 or more"),
        (["--images", "-4"], "--images -4: must be 1 or more"),
        (["--methods", "mmse", "bitshrink:stops=0"], "BitShrinking.stops = 0"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(call, tmp_path, arguments, said):
    with pytest.raises(ConfigError, match=said):
        call("--data", str(tmp_path / "none"), *arguments)
    assert not (tmp_path / "work").exists()
