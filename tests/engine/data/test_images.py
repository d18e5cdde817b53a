"""Images of data sets of all kinds: plain files, wrappers, storage backends."""

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.fileio import LocalBackend, register_backend
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope

from mmptq.engine import check_files, image_path, inner_datasets, load_picture, plain_files
from mmptq.errors import CalibrationDataError
from mmptq.runner.calib_dataset import calibration_dataset_cfg
from tests.tiny_project import NUM_TRAIN


@register_backend("elsewhere", force=True)
class Elsewhere(LocalBackend):
    """Files under another path, as those of a data base or an object store are."""

    def __init__(self, there: str) -> None:
        self.there = there

    def get(self, filepath: str | Path) -> bytes:
        return super().get(Path(self.there, *Path(filepath).parts[-2:]))


@TRANSFORMS.register_module(force=True)
class OwnReader(LoadImageFromFile):
    """A loader of a user's own."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        return super().transform(results)


@pytest.fixture
def cfg(tiny_project: Any, tmp_path: Path) -> dict[str, Any]:
    init_default_scope("mmdet")
    return calibration_dataset_cfg(tiny_project("retinanet").load(tmp_path))


def test_missing_files_are_counted_and_the_first_is_named(cfg):
    paths = plain_files(DATASETS.build(cfg), range(NUM_TRAIN))
    check_files(paths)
    with pytest.raises(CalibrationDataError, match="2 of 11 images do not exist, first none/a.png"):
        check_files([*paths, "none/a.png", "none/b.png"])


@pytest.mark.parametrize(
    "loader",
    [
        dict(backend_args=dict(backend="elsewhere", there="/none")),
        dict(backend_args=dict(backend="elsewhere", no_such_argument=1)),
        dict(backend_args=dict(backend="lmdb", db_path="none.lmdb")),  # its package may be absent
        dict(file_client_args=dict(backend="petrel")),
        dict(type="OwnReader"),
    ],
)
def test_what_is_no_plain_file_is_left_to_its_loader(cfg, loader):
    cfg["pipeline"][0].update(loader)
    assert plain_files(DATASETS.build(cfg), range(NUM_TRAIN)) == []


@pytest.mark.parametrize("loader", [dict(), dict(backend_args=dict(backend="local"))])
def test_plain_files_are_known_as_such(cfg, loader):
    cfg["pipeline"][0].update(loader)
    dataset = DATASETS.build(cfg)
    assert plain_files(dataset, [2, 0]) == [image_path(dataset, 2), image_path(dataset, 0)]
    cfg["data_prefix"] = dict(img="s3://bucket/")
    assert plain_files(DATASETS.build(cfg), [0]) == []


def test_images_of_wrapped_sets(cfg):
    inner = DATASETS.build(copy.deepcopy(cfg))
    repeated = dict(type="RepeatDataset", times=2, dataset=cfg)
    both = DATASETS.build(dict(type="ConcatDataset", datasets=[repeated, cfg]))
    assert [len(one) for one in inner_datasets(both)] == [NUM_TRAIN, NUM_TRAIN]
    assert image_path(both, NUM_TRAIN + 1) == image_path(inner, 1)
    assert image_path(both, 2 * NUM_TRAIN + 3) == image_path(inner, 3)
    assert len(plain_files(both, range(len(both)))) == 3 * NUM_TRAIN


def test_an_image_of_several_files(cfg):
    cfg["pipeline"][0] = dict(type="LoadMultiChannelImageFromFiles")
    dataset = DATASETS.build(cfg)
    info = dataset.get_data_info(0)
    dataset.get_data_info = lambda _: info | {"img_path": ["red.png", "infrared.png"]}
    assert image_path(dataset, 0) == "red.png"
    assert plain_files(dataset, [0]) == []


@pytest.mark.parametrize("color", ["color", "grayscale", "unchanged"])
def test_a_picture_is_read_by_the_pipelines_loader(cfg, color, tiny_project):
    there = str(tiny_project("retinanet").root)
    cfg["pipeline"][0].update(
        color_type=color,
        to_float32=True,
        backend_args=dict(backend="elsewhere", there=there),
    )
    cfg["data_prefix"] = dict(img="nowhere/train/")
    dataset = DATASETS.build(cfg)
    picture = load_picture(dataset, image_path(dataset, 0))
    file = f"{there}/train/{Path(image_path(dataset, 0)).name}"
    read = cv2.imread(file, cv2.IMREAD_GRAYSCALE if color == "grayscale" else cv2.IMREAD_COLOR)
    expected = np.stack([read] * 3, -1) if color == "grayscale" else read[..., ::-1]
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, expected)
