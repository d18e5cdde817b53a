import pytest

from mmptq.leaderboard import make_boards, read_runs
from mmptq.leaderboard.cells import Interval
from mmptq.leaderboard.columns import make_columns
from tests.leaderboard_support import float_row, results, row, write_run


def table(tmp_path, *datas):
    for i, data in enumerate(datas):
        write_run(tmp_path / str(i), data)
    (board,) = make_boards(read_runs([tmp_path]))
    columns = {column.title: column for column in make_columns(board)}
    return board, {name: [c.text(cell) for cell in board.cells] for name, c in columns.items()}


def test_figures_by_hand(tmp_path):
    _, texts = table(
        tmp_path,
        results(float_row(0.6), row("minmax", 0.40), row("mmse", 0.50), seed=0),
        results(float_row(0.6), row("minmax", 0.44), row("mmse", 0.54), seed=1),
        results(row("gptq", 0.55), seed=1, method="gptq"),
    )
    assert texts["method"] == ["float", "minmax", "gptq", "mmse"]
    assert texts["mAP"] == ["60.0", "42.0 ± 2.8", "55.0", "52.0 ± 2.8"]
    assert texts["vs float"] == ["-", "-18.0", "-5.0", "-8.0"]
    # GPTQ's one seed against min-max of that seed.
    assert texts["vs min-max"] == ["-", "-", "+11.0", "+10.0"]
    assert texts["first, last"] == ["-", *["W8A8, W8A8"] * 3]
    assert texts["seeds"] == ["-", "0, 1", "1", "0, 1"]
    assert texts["labels"] == ["-", "no", "no", "no"]
    assert texts["size MB"] == ["4.00", "0.50", "0.50", "0.50"]
    assert texts["MACs"] == ["-", *["100.0 %"] * 3]
    assert "ms" not in texts and "target" not in texts


def test_runtime_columns_are_there_where_needed(tmp_path):
    exported = row("mmse in openvino", 0.5, ms=1.25, runtime="openvino")
    _, texts = table(tmp_path, results(row("mmse", 0.5), exported, labels=None))
    assert texts["runtime"] == ["simulated", "openvino"]
    assert texts["ms"] == ["-", "1.2"]
    assert texts["labels"] == ["?", "?"]


def test_intervals_stand_below_their_figures(tmp_path):
    board, _ = table(tmp_path, results(float_row(), row("mmse", 0.5)))
    cell = board.cells[1]
    cell.interval, cell.gain = Interval(48.04, 52.25), Interval(-12.0, 0.04)
    notes = {column.title: column.note(cell) for column in make_columns(board)}
    assert notes["mAP"] == "48.0 to 52.2"
    assert notes["vs float"] == "-12.0 to +0.0"


@pytest.mark.parametrize("count", [3, 4])
def test_many_seeds_are_counted(tmp_path, count):
    _, texts = table(tmp_path, *(results(row("mmse", 0.5 + i / 100), seed=i) for i in range(count)))
    assert texts["seeds"] == ["0, 1, 2" if count == 3 else "4 seeds"]


def test_a_metric_that_is_no_fraction_is_shown_as_it_is(tmp_path):
    rows = [{**row("mmse", 0), "top1": score} for score in (76.25,)]
    for entry in rows:
        del entry["bbox_mAP"]
    _, texts = table(tmp_path, results(*rows))
    assert texts["top1"] == ["76.2"]
