from mmptq.leaderboard import make_boards, read_runs
from tests.leaderboard_support import TEST, float_row, results, row, write_run


def boards(tmp_path, *datas):
    for i, data in enumerate(datas):
        write_run(tmp_path / str(i), data)
    return make_boards(read_runs([tmp_path]))


def test_test_sets_are_never_mixed(tmp_path):
    found = boards(
        tmp_path,
        results(float_row(), row("mmse", 0.5)),
        results(float_row(), row("mmse", 0.5), test=TEST | {"sha256": "cd"}),
        results(float_row(), row("mmse", 0.5), test=TEST | {"images": 2}),
        results(row("mmse", 0.5) | {"top1": 3.0}, seed=1),
    )
    assert [board.num_runs for board in found] == [1, 2, 1]
    assert [board.title for board in found] == [
        "d/val.json (CocoDataset, 2 images)",
        "d/val.json (CocoDataset, 4 images)",
        "d/val.json (CocoDataset, 4 images)",
    ]


def test_the_same_annotations_at_another_place_are_one_set(tmp_path):
    moved = TEST | {"annotations": ["/elsewhere/val.json"]}
    data = [
        results(float_row(), row("mmse", 0.5), seed=seed, test=test)
        for seed, test in enumerate((TEST, moved))
    ]
    (board,) = boards(tmp_path, *data)
    assert board.num_runs == 2 and board.notes == []


def test_another_main_metric_is_another_board(tmp_path):
    accuracy = row("mmse", 0.5) | {"top1": 76.0}
    del accuracy["bbox_mAP"]
    found = boards(tmp_path, results(row("mmse", 0.5)), results(accuracy))
    assert {board.key for board in found} == {"bbox_mAP", "top1"}


def test_a_set_that_nobody_recorded_is_told(tmp_path):
    data = results(float_row(), row("mmse", 0.5))
    del data["test"]
    known_by_path = results(row("mmse", 0.5), test=TEST | {"sha256": None})
    by_path, unknown = boards(tmp_path, data, known_by_path)
    assert "by its path alone" in by_path.notes[0]
    assert unknown.title == "test set not recorded"
    assert "is not recorded" in unknown.notes[0]


def test_order_and_references(tmp_path):
    rows = [float_row(0.6), row("minmax", 0.3, 4), row("mmse", 0.5, 4)]
    better = row("gptq", 0.55, 4)
    eight = row("mmse", 0.59, 8)
    exported = row("gptq in openvino", 0.54, 4, ms=1.0, runtime="openvino")
    (board,) = boards(
        tmp_path,
        results(*rows),
        results(better, exported, method="gptq"),
        results(eight),
    )
    found = [
        (cell.first.method, cell.first.row.bits, cell.first.runtime == "openvino")
        for cell in board.cells
    ]
    assert found == [
        ("float", "W32A32", False),
        ("mmse", "W8A8", False),
        ("minmax", "W4A4", False),
        ("gptq", "W4A4", False),
        ("gptq", "W4A4", True),
        ("mmse", "W4A4", False),
    ]
    reference, wide, naive, *four = board.cells
    assert all(cell.float_cell is reference for cell in board.cells[1:])
    assert reference.float_cell is None and naive.minmax_cell is None
    assert wide.minmax_cell is None  # of other bits
    assert [cell.minmax_cell for cell in four] == [naive] * 3


def test_min_max_of_the_same_target_goes_before_one_of_another(tmp_path):
    def qconfig(target):
        four = {"num_bits": 4}
        return {"scope": "full", "weight": four, "act": four, "target": target}

    datas = [
        results(row("minmax", 0.1 * i), row("mmse", 0.5 + 0.1 * i), qconfig=qconfig(target))
        for i, target in enumerate(("openvino", "onnxruntime"))
    ]
    (board,) = boards(tmp_path, *datas, results(row("gptq", 0.4), qconfig=qconfig("generic")))
    pairs = {cell.first.method: cell for cell in board.cells if cell.first.method == "gptq"}
    assert pairs["gptq"].minmax_cell.is_baseline
    for cell in board.cells:
        if cell.first.method == "mmse":
            assert cell.minmax_cell.first.qconfig == cell.first.qconfig
