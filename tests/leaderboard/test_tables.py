import csv
import io

import pytest

from mmptq.leaderboard import make_boards, read_runs, to_csv, to_markdown
from mmptq.leaderboard.cells import Interval
from tests.leaderboard_support import TEST, float_row, results, row, write_run


@pytest.fixture
def boards(tmp_path):
    four = [float_row(0.6, bbox_mAP_50=0.9), row("minmax", 0.4), row("mmse", 0.5)]
    write_run(tmp_path / "a", results(*four, seed=0))
    write_run(tmp_path / "b", results(row("mmse", 0.52), seed=1))
    write_run(tmp_path / "c", results(row("mmse", 0.3), test=TEST | {"sha256": "cd", "images": 9}))
    return make_boards(read_runs([tmp_path]))


def test_markdown_has_a_table_a_set(boards):
    boards[0].notes.append("a <b> note")
    text = to_markdown(boards, "Mine")
    assert text.startswith("# Mine\n\n## d/val.json (CocoDataset, 4 images)\n\na &lt;b&gt; note\n")
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert [len(table.strip().splitlines()) for table in tables] == [5, 3]
    for table in tables:
        assert len({line.count("|") for line in table.strip().splitlines()}) == 1
    assert "| **mmse** | **net** | **W4A4** |" in tables[0]
    assert "| minmax |" in tables[0]


def test_csv_has_every_figure(boards):
    boards[0].cells[-1].interval = Interval(48.0, 52.5)
    lines = list(csv.DictReader(io.StringIO(to_csv(boards))))
    assert [line["method"] for line in lines] == ["float", "minmax", "mmse", "mmse"]
    mmse = lines[2]
    assert float(mmse["value"]) == pytest.approx(51)
    assert float(mmse["std"]) == pytest.approx(2**0.5)
    assert float(mmse["vs_float"]) == pytest.approx(-9)
    assert (mmse["low"], mmse["high"], mmse["vs_float_low"]) == ("48.0", "52.5", "")
    assert (mmse["seeds"], mmse["runs"], mmse["labels"]) == ("0 1", "2", "no")
    assert mmse["environment"] == "mmptq 0.1.0, torch 2.4, device cpu (x), threads 2"
    assert float(lines[0]["bbox_mAP_50"]) == 0.9 and mmse["bbox_mAP_50"] == ""
    assert lines[3]["test_set"].endswith("9 images)")


def test_hostile_labels_are_cells(tmp_path):
    label = "=cmd|' /C calc'!A0"
    write_run(tmp_path, results(row(label, 0.5), method=label))
    boards = make_boards(read_runs([tmp_path]))
    (line,) = csv.DictReader(io.StringIO(to_csv(boards)))
    assert line["method"] == f"'{label}"
    assert "=cmd\\|' /C calc'\\!A0" in to_markdown(boards)
