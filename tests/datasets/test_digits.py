import builtins
import hashlib
import json
import multiprocessing
import os
import stat
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from pycocotools.coco import COCO

from mmptq.datasets import digits

FEW = {"train": 6, "val": 3}

# The first three validation images of the default set.
KNOWN_LABELS = [[0, 5], [5, 7, 8], [4, 8]]
KNOWN_FIRST_BOXES = [[77, 25, 33, 48], [105, 102, 21, 33], [5, 79, 35, 50]]
KNOWN_MEANS = [137.523, 122.299, 73.804]


def _digest(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    sha = hashlib.sha256()
    for path in files:
        sha.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return sha.hexdigest()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return digits.make_digits(tmp_path_factory.mktemp("set") / "demo", num_images=FEW)


def _raw(glyphs):
    return {glyph.tobytes() for glyph in glyphs}


def test_splits_share_no_source_digit_and_hold_all_classes():
    train, val = digits.load_sources("train"), digits.load_sources("val")
    assert len(train.labels) + len(val.labels) == 1797
    assert not _raw(train.glyphs) & _raw(val.glyphs)
    for sources in (train, val):
        assert sources.glyphs.min() == 0 and sources.glyphs.max() == 1
        assert np.bincount(sources.labels, minlength=10).min() >= 25


def test_sources_are_scikit_learns_digits():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    known = {
        image.tobytes(): label for image, label in zip(bunch.images, bunch.target, strict=True)
    }
    sources = digits.load_sources("val")
    for glyph, label in zip(sources.glyphs, sources.labels, strict=True):
        assert known[(glyph * 16).tobytes()] == label


def test_unknown_split():
    with pytest.raises(ValueError, match="split must be one of .*'train', 'val'.*got 'test'"):
        digits.load_sources("test")


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without_sklearn(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_sklearn)
    with pytest.raises(ImportError, match=r"pip install mmptq\[demo\]"):
        digits.load_sources("train")


def test_same_seed_same_bytes_other_seed_others(root, tmp_path):
    again = digits.make_digits(tmp_path / "again", num_images=FEW)
    other = digits.make_digits(tmp_path / "other", num_images=FEW, seed=1)
    assert _digest(again) == _digest(root)
    assert _digest(other) != _digest(root)


def test_first_images_of_the_default_set_stay_what_they_are():
    """The shipped figures belong to this set: a change of the drawing must raise VERSION."""
    sources = digits.load_sources("val")
    scenes = [digits.render_digits("val", index, sources) for index in range(3)]
    assert digits.VERSION == "1"
    assert [scene.labels.tolist() for scene in scenes] == KNOWN_LABELS
    assert [scene.boxes[0].tolist() for scene in scenes] == KNOWN_FIRST_BOXES
    means = [float(scene.image.mean()) for scene in scenes]
    assert means == pytest.approx(KNOWN_MEANS, abs=0.01)


def test_image_does_not_depend_on_the_number_of_images(root):
    sources = digits.load_sources("train")
    scene = digits.render_digits("train", 4, sources)
    image = cv2.imread(str(root / "train/000004.png"))[..., ::-1]
    np.testing.assert_array_equal(image, scene.image)


def test_coco_api_reads_it(root):
    for split, count in FEW.items():
        coco = COCO(str(root / f"annotations/{split}.json"))
        assert len(coco.getImgIds()) == count
        assert [c["name"] for c in coco.loadCats(range(1, 11))] == list("0123456789")
        for annotation in coco.loadAnns(coco.getAnnIds()):
            x, y, width, height = annotation["bbox"]
            assert annotation["area"] == width * height > 0
            assert annotation["iscrowd"] == 0
            assert min(x, y) >= 0 and x + width <= 160 and y + height <= 160
        names = {image["file_name"] for image in coco.loadImgs(coco.getImgIds())}
        assert names == {path.name for path in (root / split).iterdir()}


def test_made_set_is_left_alone(root):
    before = _digest(root)
    mtime = (root / "digits.json").stat().st_mtime_ns
    digits.make_digits(root, num_images=FEW)
    assert _digest(root) == before and (root / "digits.json").stat().st_mtime_ns == mtime


def test_other_settings_are_refused_unless_forced(tmp_path):
    path = digits.make_digits(tmp_path / "demo", num_images=FEW)
    with pytest.raises(FileExistsError, match=r"'seed': 0.*'seed': 7.*make_demo_data.py --force"):
        digits.make_digits(path, num_images=FEW, seed=7)
    digits.make_digits(path, num_images=FEW, seed=7, force=True)
    assert json.loads((path / "digits.json").read_text())["seed"] == 7
    assert os.listdir(tmp_path) == ["demo"]


@pytest.mark.parametrize("force", [False, True])
def test_a_foreign_folder_is_never_overwritten(tmp_path, force):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="is not the digits set"):
        digits.make_digits(tmp_path, num_images=FEW, force=force)
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(digits.cv2, "imwrite", lambda *args: False)
    with pytest.raises(OSError, match="cannot write .*000000.png"):
        digits.make_digits(tmp_path / "demo", num_images=FEW)
    assert os.listdir(tmp_path) == []


def test_empty_folder_is_used_and_readable_by_others(tmp_path):
    (tmp_path / "demo").mkdir()
    path = digits.make_digits(tmp_path / "demo", num_images=FEW)
    assert stat.S_IMODE(path.stat().st_mode) & 0o055 == 0o055


def _make(path, barrier, queue):
    barrier.wait()
    try:
        queue.put(str(digits.make_digits(path, num_images=FEW)))
    except BaseException as error:  # the parent reports it
        queue.put(repr(error))


def test_two_processes_at_the_same_time(root, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    path = tmp_path / "demo"
    workers = [context.Process(target=_make, args=(path, barrier, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert answers == [str(path)] * 2
    assert os.listdir(tmp_path) == ["demo"]
    assert _digest(path) == _digest(root)


def _config(root: Path) -> dict:
    cfg = Config.fromfile("configs/demo/_base_/digits_detection.py")
    return {**cfg.val_dataloader.dataset.to_dict(), "data_root": str(root)}


def test_dataset_is_made_on_first_use_through_mmdets_registry(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "NUM_IMAGES", FEW)
    init_default_scope("mmdet")
    lazy = DATASETS.build({**_config(tmp_path / "lazy"), "lazy_init": True})
    assert not (tmp_path / "lazy").exists()
    lazy.full_init()
    dataset = DATASETS.build(_config(tmp_path / "demo"))
    assert len(dataset) == len(lazy) == FEW["val"]
    assert dataset.metainfo["classes"] == tuple("0123456789")
    assert len(set(dataset.metainfo["palette"])) == 10
    sample = dataset[1]
    scene = digits.render_digits("val", 1, digits.load_sources("val"))
    # The pipeline's tensor is BGR, channels first.
    np.testing.assert_array_equal(sample["inputs"].numpy()[::-1].transpose(1, 2, 0), scene.image)
    instances = sample["data_samples"].gt_instances
    np.testing.assert_array_equal(instances.labels.numpy(), scene.labels)
    corners = np.hstack([scene.boxes[:, :2], scene.boxes[:, :2] + scene.boxes[:, 2:]])
    np.testing.assert_array_equal(instances.bboxes.numpy(), corners)


def test_dataset_does_not_make_a_set_for_an_annotation_file_elsewhere(tmp_path):
    init_default_scope("mmdet")
    cfg = {**_config(tmp_path / "demo"), "ann_file": str(tmp_path / "gone.json")}
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        DATASETS.build(cfg)
    assert not (tmp_path / "demo").exists()
