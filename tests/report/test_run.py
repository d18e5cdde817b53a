import pytest

from mmptq.report.run import read_run
from tests.leaderboard_support import float_row, results, row, write_run
from tests.report_support import record, write_full_run, write_json


def test_a_full_run(tmp_path):
    run = read_run(write_full_run(tmp_path))
    assert run.method == "all" and run.row.metrics == {"bbox_mAP": 0.55}
    assert [step["type"] for step in run.steps] == [
        "LpInterpolation",
        "JointSearch",
        "BitShrinking",
    ]
    assert run.config == tmp_path / "net_w4a4.py"
    assert run.record.model == "RetinaNet" and len(run.record.layers) == 3


def test_the_recipes_row_may_be_absent(tmp_path):
    write_run(tmp_path, results(float_row(), method="mmse"))
    assert read_run(tmp_path).row is None


@pytest.mark.parametrize("name", ["../secret.py", "sub/secret.py", "secret.txt", ""])
def test_the_config_is_never_outside(tmp_path, name):
    for file in ("secret.py", "work/secret.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("x")
    write_run(tmp_path / "work", results(row("mmse", 0.5)))
    write_json(tmp_path / "work/run.json", record(config=name))
    assert read_run(tmp_path / "work").config is None


def test_steps_that_are_no_objects_are_left_out(tmp_path):
    write_run(tmp_path, results(row("mmse", 0.5), steps=[3, {"type": "mmptq.GPTQ"}, {}]))
    assert read_run(tmp_path).steps == [{"type": "GPTQ"}, {"type": ""}]
