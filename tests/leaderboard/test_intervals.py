import numpy as np
import pytest

from mmptq.evaluation.bootstrap import ResampledMap, bootstrap, load_truth
from mmptq.leaderboard import add_intervals, make_boards, read_runs
from tests.leaderboard_support import (
    float_row,
    results,
    row,
    write_detections,
    write_run,
    write_truth,
)

EXACT, HALF = [0, 0, 0, 0], [0, 5, 0, 5]


@pytest.fixture
def run(tmp_path):
    """A run whose quantized model misses by five pixels on half of the images."""
    test = write_truth(tmp_path / "val.json")
    for method, shifts in (("float", EXACT), ("mmse", HALF)):
        write_detections(tmp_path / "run", method, shifts)
    truth = load_truth(tmp_path / "val.json")
    half = ResampledMap(truth, tmp_path / "run/detections/mmse.bbox.json")(range(4))
    data = results(float_row(1.0), row("mmse", round(half, 3)), test=test)
    write_run(tmp_path / "run", data)
    return tmp_path, data


def board_of(folder):
    (board,) = make_boards(read_runs([folder]))
    return board


def test_intervals_are_the_bootstraps(run):
    folder, _ = run
    board = board_of(folder)
    assert add_intervals(board, samples=200, seed=3) == 2
    truth = load_truth(folder / "val.json")
    files = [folder / f"run/detections/{name}.bbox.json" for name in ("float", "mmse")]
    drawn = 100 * bootstrap([ResampledMap(truth, file) for file in files], 200, 3)
    exact, half = board.cells
    assert (exact.interval.low, exact.interval.high) == pytest.approx((100, 100))
    wanted = np.percentile(drawn[:, 1], [2.5, 97.5])
    assert (half.interval.low, half.interval.high) == pytest.approx(wanted)
    wanted = np.percentile(drawn[:, 1] - drawn[:, 0], [2.5, 97.5])
    assert (half.gain.low, half.gain.high) == pytest.approx(wanted)
    assert half.gain.high <= 0 and exact.gain is None
    assert board.notes == []


def test_of_several_seeds_it_is_the_means(run):
    folder, data = run
    calibration = data["calibration"] | {"seed": 1}
    write_run(folder / "again", data | {"rows": [row("mmse", 1.0)], "calibration": calibration})
    write_detections(folder / "again", "mmse", EXACT)
    board = board_of(folder)
    add_intervals(board, samples=100)
    alone = board_of(folder / "run")
    add_intervals(alone, samples=100)
    both, one = board.cells[1].interval, alone.cells[1].interval
    # The other seed's model is right everywhere.
    assert both.low == pytest.approx((one.low + 100) / 2)
    assert both.high == pytest.approx((one.high + 100) / 2)


def test_a_seed_without_detections_leaves_no_interval(run):
    folder, data = run
    calibration = data["calibration"] | {"seed": 1}
    write_run(folder / "again", data | {"rows": [row("mmse", 0.9)], "calibration": calibration})
    board = board_of(folder)
    assert add_intervals(board, samples=50) == 1
    assert board.cells[1].interval is None


def test_boxes_of_another_run_are_told(run):
    folder, _ = run
    write_detections(folder / "run", "mmse", EXACT)
    board = board_of(folder)
    assert add_intervals(board, samples=50) == 1
    assert "mmse.bbox.json give mAP 100.0, the row says" in board.notes[0]


@pytest.mark.parametrize("change", ["gone", "other"])
def test_annotations_that_are_gone_or_others_are_told(run, change):
    folder, _ = run
    path = folder / "val.json"
    board = board_of(folder)
    path.unlink() if change == "gone" else path.write_text("{}")
    assert add_intervals(board, samples=50) == 0
    assert "val.json cannot be read from here, or what is there" in board.notes[0]


def test_damaged_detections_are_told(run):
    folder, _ = run
    (folder / "run/detections/mmse.bbox.json").write_text("[")
    board = board_of(folder)
    assert add_intervals(board, samples=50) == 1
    assert "No interval of mmse: predictions" in board.notes[0]


def test_without_detections_nothing_is_said(tmp_path):
    write_run(tmp_path, results(float_row(), row("mmse", 0.5)))
    board = board_of(tmp_path)
    assert add_intervals(board) == 0 and board.notes == []
