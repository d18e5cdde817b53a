import hashlib
from types import SimpleNamespace

from mmptq.evaluation.test_set import describe_test_set, digest


class Coco(list):
    ann_file = ""
    data_root = "root/"


def test_a_set_is_told_by_its_annotations_and_size(tmp_path):
    (tmp_path / "val.json").write_text("{}")
    data = Coco([1, 2, 3])
    data.ann_file = str(tmp_path / "val.json")
    assert describe_test_set(data) == {
        "dataset": "Coco",
        "annotations": [str(tmp_path / "val.json")],
        "sha256": hashlib.sha256(b"{}").hexdigest(),
        "images": 3,
    }


def test_without_annotations_it_is_told_by_its_folder():
    found = describe_test_set(Coco([1]))
    assert found["annotations"] == ["root/"] and found["sha256"] is None


def test_wrapped_and_joined_sets_are_looked_into():
    class Joined(list):
        datasets = (Coco(), SimpleNamespace(dataset=Coco()))

    found = describe_test_set(Joined([1, 2]))
    assert found == {"dataset": "Coco", "annotations": ["root/"], "sha256": None, "images": 2}


def test_digest_needs_every_file(tmp_path):
    (tmp_path / "a").write_text("a")
    assert digest([]) is None
    assert digest([str(tmp_path / "a"), str(tmp_path / "b")]) is None
    assert digest([str(tmp_path / "a")]) == hashlib.sha256(b"a").hexdigest()
