"""benchmarks/cells.py: what is measured is kept, and not measured again."""

import json

import pytest

from mmptq.errors import MmptqError


@pytest.fixture
def cells():
    import cells

    return cells


def test_a_cell_is_measured_once(cells, tmp_path):
    path = tmp_path / "results/cells.json"
    assert cells.Cells(path).measure("b", lambda: {"mAP": 1}) == {"mAP": 1}
    assert cells.Cells(path).measure("b", lambda: pytest.fail("measured")) == {"mAP": 1}


def test_cells_of_other_processes_stay(cells, tmp_path):
    path = tmp_path / "cells.json"
    ours, theirs = cells.Cells(path), cells.Cells(path)
    theirs.measure("b", lambda: {"mAP": 2})
    ours.measure("a", lambda: {"mAP": 1})
    assert ours.values == {"a": {"mAP": 1}, "b": {"mAP": 2}}
    assert list(json.loads(path.read_text())) == ["a", "b"]


def test_a_cell_that_is_put_replaces_that_of_its_name(cells, tmp_path):
    table = cells.Cells(tmp_path / "cells.json")
    table.put("a", {"mAP": 1})
    table.put("b", {"mAP": 2})
    table.put("a", {"mAP": 3})
    assert cells.Cells(table.path).values == {"a": {"mAP": 3}, "b": {"mAP": 2}}


def test_a_cell_that_fails_leaves_the_file_as_it_was(cells, tmp_path):
    table = cells.Cells(tmp_path / "cells.json")
    table.measure("a", lambda: {"mAP": 1})
    before = table.path.read_bytes()

    def fail():
        raise MmptqError("collapsed")

    with pytest.raises(MmptqError):
        table.measure("b", fail)
    assert table.path.read_bytes() == before
    assert "b" not in table.values
