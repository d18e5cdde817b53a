import pytest

from mmptq.errors import MmptqError
from mmptq.leaderboard import read_runs
from tests.leaderboard_support import float_row, results, row, write_run


def test_files_and_folders_each_run_once(tmp_path):
    data = results(float_row(), row("mmse", 0.5))
    for name in ("b", "a/deep"):
        write_run(tmp_path / name, data)
    runs = read_runs([tmp_path, tmp_path / "b/results.json"])
    assert [run.folder.relative_to(tmp_path).as_posix() for run in runs] == ["a/deep", "b"]
    assert runs[0].test == data["test"] and runs[0].config is None


def test_config_and_pictures_lie_beside(tmp_path):
    write_run(tmp_path, results(row("mmse", 0.5)))
    (tmp_path / "net_w4a4.py").write_text("x = 1")
    (tmp_path / "pictures").mkdir()
    for name in ("2.jpg", "1.png", "notes.txt"):
        (tmp_path / "pictures" / name).write_text("")
    (run,) = read_runs([tmp_path])
    assert run.config == tmp_path / "net_w4a4.py"
    assert [path.name for path in run.pictures] == ["1.png", "2.jpg"]


def test_an_older_run_tells_its_test_set_by_its_config(tmp_path):
    data = results(row("mmse", 0.5))
    del data["test"], data["schema"]
    write_run(tmp_path, data)
    (tmp_path / "net_w4a4.py").write_text(
        "test_dataloader = dict(dataset=dict(type='CocoDataset', ann_file='v.json'))"
    )
    (run,) = read_runs([tmp_path])
    assert run.test["annotations"] == ["v.json"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "no results.json in .* nor below it: give work dirs"),
        ("{", "results.json is not JSON"),
        ("[" * 100_000, "results.json is not JSON"),
        (results(), "results.json: rows is empty: repeat the run"),
        (results(row("mmse", "high")), r"results.json: rows\[0\].bbox_mAP = 'high'"),
    ],
    ids=["none", "damaged", "deep", "empty", "wrong"],
)
def test_bad_input_is_named(tmp_path, data, message):
    if data is not None:
        write_run(tmp_path, data)
    with pytest.raises(MmptqError, match=message):
        read_runs([tmp_path])


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(MmptqError, match="nowhere does not exist"):
        read_runs([tmp_path / "nowhere"])
