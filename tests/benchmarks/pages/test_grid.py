"""benchmarks/pages/grid.py: which cell stands where."""

import json

import pytest

from mmptq.errors import MmptqError

CELLS = {
    "net/float": {"bbox_mAP": 0.4},
    "net/W4/a": {"bbox_mAP": 0.301, "loss": 1.0, "classes": {"cat": 12.0}},
    "net/W4/a, seed 1": {"bbox_mAP": 0.321, "loss": 3.0, "classes": {"cat": 14.0}},
    "net/W2/a": {"bbox_mAP": 0.1, "loss": 5.0},
    "net/W4/b": {"bbox_mAP": 0.35, "loss": 2.0},
}


@pytest.fixture
def grid(monkeypatch, tmp_path):
    from pages import grid, measured

    (tmp_path / "cells.json").write_text(json.dumps(CELLS))
    monkeypatch.setattr(measured, "RECORDED", tmp_path / "recorded.json")
    measured.cells_of.cache_clear()
    yield grid
    measured.cells_of.cache_clear()


ALL = {"file": "cells", "name": "{model}/{bits}/{row}{choice}", "model": "net", "row": "a"}
W4, W2 = ("W4", {"bits": "W4"}), ("W2", {"bits": "W2"})


def lines(table):
    return table.markdown().splitlines()[2:]


def test_shares_are_percent_and_what_was_not_measured_is_empty(grid):
    rows = {"a": {}, "b": {"row": "b"}}
    table = grid.Grid(("",), rows, [W4, W2], {**ALL, "text": "{bbox_mAP:.1f}"})
    assert lines(table) == ["| a | 30.1 | 10.0 |", "| b | 35.0 |  |"]


def test_a_figure_over_seeds_is_their_mean_with_the_extremes(grid):
    text = "{loss:.2f} ({low[loss]:.0f} to {high[loss]:.0f}, {count}) {each[bbox_mAP]} {cat:.1f}"
    table = grid.Grid(("",), {"a": {}}, [W4], {**ALL, "seeds": (0, 1, 2), "text": text})
    assert lines(table) == ["| a | 2.00 (1 to 3, 2) 30.1 32.1 13.0 |"]
    assert table.figure("a", 0, "loss") == 2.0


def test_the_best_of_a_column_is_bold_the_float_models_aside(grid):
    rows = {"float": {"name": "net/float", "best": None}, "a": {}, "b": {"row": "b"}}
    shared = {**ALL, "text": "{b}{bbox_mAP:.1f}{b}", "best": "bbox_mAP"}
    assert lines(grid.Grid(("",), rows, [W4], shared)) == [
        "| float | 40.0 |",
        "| a | 30.1 |",
        "| b | **35.0** |",
    ]


def test_a_place_may_show_two_cells_and_a_row_may_have_two_labels(grid):
    names = {"name": ("{model}/{bits}/a", "{model}/{bits}/b")}
    table = grid.Grid(("x", "y"), {("1", "2"): names}, [W4], {**ALL, "text": "{loss:.0f}"})
    assert lines(table) == ["| 1 | 2 | 1, 2 |"]


def test_a_difference_to_another_cell_and_a_text_for_several_seeds(grid):
    shared = {**ALL, "minus": "{model}/float", "text": "{bbox_mAP:+.1f}"}
    shared |= {"seeds": (0, 1), "several": "{bbox_mAP:+.1f} ± {std[bbox_mAP]:.2f}, {loss:.0f}"}
    float_column = ("float", {"name": "net/float", "minus": None})
    table = grid.Grid(("",), {"a": {}}, [float_column, W4, W2], shared)
    assert lines(table) == ["| a | +40.0 | -8.9 ± 1.41, 2 | -30.0 |"]


def test_pooled_cells_are_one_place(grid):
    names = {"name": ("net/W4/a{choice}", "net/W4/b", "net/W9/a"), "pooled": True, "seeds": (0, 1)}
    text = "{low[loss]:.0f} to {high[loss]:.0f}, {count}"
    assert lines(grid.Grid(("",), {"a": names}, [W4], {**ALL, "text": text})) == [
        "| a | 1 to 3, 3 |"
    ]


@pytest.mark.parametrize(
    ("rows", "columns", "named"),
    [
        ({"a": {}, "typo": {"row": "c"}}, [W4], "the row typo"),
        ({"a": {}}, [W4, ("W9", {"bits": "W9"})], "the column W9"),
    ],
)
def test_a_row_or_column_without_any_cell_is_named(grid, rows, columns, named):
    with pytest.raises(MmptqError, match=named):
        grid.Grid(("",), rows, columns, {**ALL, "text": "{loss}"}).markdown()
