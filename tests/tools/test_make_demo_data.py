import json
import sys

import make_demo_data
import pytest

from mmptq.datasets import digits


@pytest.fixture
def few_images(monkeypatch):
    monkeypatch.setattr(digits, "NUM_IMAGES", {"train": 5, "val": 2})


def _run(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["make_demo_data.py", *map(str, args)])
    return make_demo_data.main()


def test_makes_the_set_and_counts_its_digits(few_images, monkeypatch, tmp_path, capsys):
    assert _run(monkeypatch, "--out", tmp_path / "demo", "--seed", 3) == 0
    printed = capsys.readouterr().out
    for split, images in (("train", 5), ("val", 2)):
        data = json.loads((tmp_path / f"demo/annotations/{split}.json").read_text())
        assert data["info"]["seed"] == 3
        assert f"{split}: {images} images, {len(data['annotations'])} digits" in printed
        sevens = sum(a["category_id"] == 8 for a in data["annotations"])
        line = next(line for line in printed.splitlines() if line.startswith(split))
        assert f" 7:{sevens} " in line


def test_other_seed_is_refused_and_force_replaces(few_images, monkeypatch, tmp_path, capsys):
    assert _run(monkeypatch, "--out", tmp_path / "demo") == 0
    assert _run(monkeypatch, "--out", tmp_path / "demo", "--seed", 1) == 1
    assert "--force" in capsys.readouterr().err
    assert _run(monkeypatch, "--out", tmp_path / "demo", "--seed", 1, "--force") == 0


def test_unwritable_place_is_one_line(few_images, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert _run(monkeypatch, "--out", tmp_path / "file/demo") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "file" in error and error.count("\n") == 1
