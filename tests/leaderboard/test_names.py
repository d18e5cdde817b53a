from mmptq.evaluation import Results
from mmptq.leaderboard.names import model_names
from mmptq.leaderboard.runs import Run


def names(*checkpoints):
    runs = [Run(None, Results("configs/net.py", checkpoint)) for checkpoint in checkpoints]
    name = model_names(runs)
    return [name(run) for run in runs]


def test_a_checkpoint_is_called_by_its_file():
    url = "https://x.org/retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth"
    assert names(url, "w/digits.pth", None) == [
        "retinanet_r50_fpn_1x_coco_20200130",
        "digits",
        "net",
    ]


def test_two_of_one_file_name_keep_their_folders():
    assert names("a/last.pth", "b/last.pth", "a/last.pth") == [
        "a/last.pth",
        "b/last.pth",
        "a/last.pth",
    ]


def test_one_file_has_one_name_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_text("")
    monkeypatch.chdir(tmp_path)
    assert names("w.pth", str(tmp_path / "w.pth")) == ["w", "w"]
