"""tools/report.py, and the report of runs that tools/quantize.py starts, kills and resumes."""

import json
import runpy
import sys

import pytest

from mmptq.cli.main import main
from tests.report_support import sensitivity, write_full_run, write_json
from tests.tiny_project import REPO
from tests.webpage.parsed import Page


@pytest.fixture
def tool(monkeypatch):
    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        runpy.run_path(str(REPO / f"tools/{name}.py"), run_name="__main__")

    return run


def text_of(folder):
    return " ".join(Page((folder / "report.html").read_text(encoding="utf-8")).texts)


def test_it_is_written_again_with_what_was_added(tool, calibrated, tmp_path, capsys):
    folder = write_full_run(tmp_path / "run")
    (folder / "analysis/sensitivity.json").unlink()
    tool("report", folder)
    assert "Sensitivity" not in text_of(folder)
    write_json(folder / "analysis/sensitivity.json", sensitivity())
    tool("report", folder)
    assert "neck.0.weight" in text_of(folder)
    assert str(folder / "report.html") in capsys.readouterr().out


def test_that_of_a_run_is_the_commands(tool, calibrated):
    folder = calibrated("retinanet").work_dir
    before = (folder / "report.html").read_bytes()
    tool("report", folder)
    assert (folder / "report.html").read_bytes() == before


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(tmp_path)])
    assert str(stopped.value.code).startswith(f"error: no results.json in {tmp_path}: give a work")
    assert "mmptq quantize" in str(stopped.value.code)


def test_a_resumed_run_tells_both_command_lines_and_draws_all(tool, tiny_project, tmp_path):
    arguments = [tiny_project("retinanet").config, "--work-dir", tmp_path]
    tool("quantize", *arguments, "--skip-baseline", "--cfg-options", "calib_cfg.num_images=4")
    pictures = {path.name for path in (tmp_path / "pictures").iterdir()}
    changed = ["--cfg-options", "calib_cfg.num_images=4"]
    tool("quantize", *arguments, "--resume", *changed)
    text = text_of(tmp_path)
    first, second = json.loads((tmp_path / "run.json").read_text())["starts"]
    assert first["command"].startswith("python tools/quantize.py ")
    assert "--skip-baseline" in first["command"] and not first["resumed"]
    assert second["command"].endswith("--resume --cfg-options calib_cfg.num_images=4")
    assert second["resumed"] and first["command"] in text and second["command"] in text
    assert set(json.loads((tmp_path / "run.json").read_text())["pictures"]) == pictures
    kept = json.loads((tmp_path / "stages/pictures.json").read_text())
    assert sorted(kept["found"]) == ["float", "minmax", "mmse"]


def test_a_run_that_starts_anew_forgets_the_old_one(tool, tiny_project, tmp_path):
    arguments = [tiny_project("retinanet").config, "--work-dir", tmp_path, "--skip-baseline"]
    tool("quantize", *arguments)
    (tmp_path / "pictures/old.jpg").write_bytes((tmp_path / "pictures/0.jpg").read_bytes())
    tool("quantize", *arguments, "--skip-float")
    record = json.loads((tmp_path / "run.json").read_text())
    assert len(record["starts"]) == 1 and "old.jpg" not in record["pictures"]
