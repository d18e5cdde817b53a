"""tools/compare.py on detections of a few boxes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*args):
    command = [sys.executable, str(ROOT / "tools/compare.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def files(tmp_path):
    images = range(4)
    box = [10.0, 10.0, 30.0, 30.0]
    truth = dict(
        images=[dict(id=i, width=64, height=64) for i in images],
        annotations=[
            dict(id=i + 1, image_id=i, category_id=1, bbox=box, area=900.0, iscrowd=0)
            for i in images
        ],
        categories=[dict(id=1, name="a")],
    )
    (tmp_path / "val.json").write_text(json.dumps(truth))
    # IoU 1 everywhere, and on every second image only IoU 0.71: right at 5 of 10 thresholds.
    for name, shifts in {"exact": (0, 0, 0, 0), "half": (0, 5, 0, 5)}.items():
        found = [
            dict(image_id=i, category_id=1, bbox=[10.0 + shift, *box[1:]], score=0.9)
            for i, shift in enumerate(shifts)
        ]
        (tmp_path / f"{name}.bbox.json").write_text(json.dumps(found))
    return tmp_path


def test_table(files):
    names = ("exact", "half", "exact")
    predictions = [files / f"{name}.bbox.json" for name in names]
    done = run(files / "val.json", *predictions, "--samples", 200)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()][2:]
    assert [row[0] for row in rows] == list(names)
    assert rows[0] == ["exact", "100.0", "100.0", "to", "100.0"]
    assert rows[2] == ["exact", *rows[0][1:], "+0.0", "+0.0", "to", "+0.0", "0%"]
    measured, gain, low, high = (float(rows[1][i]) for i in (1, 5, 6, 8))
    assert 50 < measured < 100
    assert gain == pytest.approx(measured - 100, abs=0.1)
    assert low <= gain <= high <= 0
    assert rows[1][9] == "0%"


def test_bad_input_ends_with_its_name(files):
    done = run(files / "val.json", files / "missing.bbox.json")
    assert done.returncode != 0
    assert done.stderr.startswith("error: predictions: cannot read")
    assert "missing.bbox.json" in done.stderr
    assert "at least 2" in run(files / "val.json", files / "half.bbox.json", "--samples", 1).stderr


def test_a_model_that_detects_nothing_is_told(files):
    (files / "nothing.bbox.json").write_text("[]")
    done = run(files / "val.json", files / "exact.bbox.json", files / "nothing.bbox.json")
    assert done.returncode != 0
    assert "nothing.bbox.json holds no detections: the model detected nothing" in done.stderr
