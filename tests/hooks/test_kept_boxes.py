import numpy as np

from mmptq.hooks.drawing import Boxes
from mmptq.hooks.kept_boxes import load_boxes, save_boxes


def test_boxes_come_back_as_they_were(tmp_path):
    random = np.random.RandomState(0)
    some = Boxes(
        random.rand(3, 4).astype(np.float32),
        random.rand(3).astype(np.float32),
        np.arange(3, dtype=np.int64),
    )
    none = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    path = tmp_path / "stages/pictures.json"
    save_boxes(path, ["a.jpg", "b.jpg"], {"float": {"a.jpg": some, "b.jpg": none}})
    chosen, found = load_boxes(path)
    assert chosen == ["a.jpg", "b.jpg"] and list(found) == ["float"]
    for name, boxes in (("a.jpg", some), ("b.jpg", none)):
        for key in ("boxes", "scores", "labels"):
            loaded, saved = getattr(found["float"][name], key), getattr(boxes, key)
            assert loaded.dtype == saved.dtype and np.array_equal(loaded, saved)
            assert loaded.shape == saved.shape


def test_without_a_file_nothing_is_chosen(tmp_path):
    assert load_boxes(tmp_path / "none.json") == (None, {})
