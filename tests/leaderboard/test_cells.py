import pytest

from mmptq.leaderboard import read_runs
from mmptq.leaderboard.cells import make_cells
from tests.leaderboard_support import ENVIRONMENT, STEPS, float_row, results, row, write_run


def cells(tmp_path, *datas):
    for i, data in enumerate(datas):
        write_run(tmp_path / str(i), data)
    return make_cells(read_runs([tmp_path]), lambda run: "net")


def test_runs_that_differ_in_the_seed_become_one_row(tmp_path):
    found = cells(
        tmp_path,
        results(float_row(), row("minmax", 0.40), row("mmse", 0.50), seed=0),
        results(float_row(), row("minmax", 0.42), row("mmse", 0.54), seed=1),
    )
    assert [cell.first.method for cell in found] == ["float", "minmax", "mmse"]
    assert found[2].metric("bbox_mAP").mean == pytest.approx(0.52)
    assert found[2].metric("bbox_mAP").std == pytest.approx(0.02 * 2**0.5)
    assert found[2].seeds == [0, 1] and found[0].seeds == []
    assert found[0].metric("bbox_mAP").std is None


def test_the_same_result_again_counts_once(tmp_path):
    data = results(float_row(), row("mmse", 0.50))
    found = cells(tmp_path, data, data, results(row("mmse", 0.56), seed=1))
    assert found[1].metric("bbox_mAP").mean == pytest.approx(0.53)
    assert len(found[1].rows) == 3


def test_min_max_beside_two_recipes_is_one_row(tmp_path):
    found = cells(
        tmp_path,
        results(row("minmax", 0.4), row("mmse", 0.5)),
        results(row("minmax", 0.4), row("gptq", 0.5), method="gptq", steps=[{"type": "GPTQ"}]),
    )
    assert [cell.first.method for cell in found] == ["minmax", "mmse", "gptq"]
    assert [cell.labels for cell in found] == [False, False, False]


@pytest.mark.parametrize(
    "change",
    [
        dict(steps=[STEPS[0] | {"extra": 1}]),
        dict(qconfig={"scope": "full", "weight": {"num_bits": 4}}),
    ],
)
def test_other_settings_are_another_row(tmp_path, change):
    found = cells(tmp_path, results(row("mmse", 0.5)), results(row("mmse", 0.6), seed=1, **change))
    assert len(found) == 2


def test_milliseconds_of_two_machines_are_not_averaged(tmp_path):
    fast = row("mmse in openvino", 0.5, ms=1.0, runtime="openvino")
    slow = fast | {"ms": 9.0}
    other = ENVIRONMENT | {"threads": 8}
    found = cells(tmp_path, results(slow), results(fast, seed=1, environment=other))
    assert [cell.cost("ms").mean for cell in found] == [9.0, 1.0]


def test_float_figures_that_differ_stay_apart_and_unmeasured_ones_are_left_out(tmp_path):
    nothing = float_row()
    del nothing["bbox_mAP"]
    found = cells(
        tmp_path, results(float_row(0.6)), results(float_row(0.61), seed=1), results(nothing)
    )
    assert [cell.metric("bbox_mAP").mean for cell in found] == [0.6, 0.61]


def test_labels_that_no_file_tells_are_unknown(tmp_path):
    told = results(row("lapq", 0.5), method="lapq", labels=True)
    silent = results(row("mmse", 0.5), labels=None)
    assert [cell.labels for cell in cells(tmp_path, told, silent)] == [True, None]


def test_cocos_minus_one_is_no_value(tmp_path):
    (cell,) = cells(tmp_path, results(row("mmse", 0.5, bbox_mAP_l=-1)))
    assert cell.metric("bbox_mAP_l") is None
