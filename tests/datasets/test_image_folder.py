import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope

from mmptq.datasets import ImageFolder
from mmptq.errors import CalibrationDataError

LOAD = [dict(type="LoadImageFromFile"), dict(type="mmptq.PackClassInputs")]
COUNTS = {"bee": 2, "ant": 3}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label, (name, count) in enumerate(sorted(COUNTS.items())):
        (tmp_path / "val" / name / "more").mkdir(parents=True)
        for i in range(count):
            folder = tmp_path / "val" / name / ("more" if i == 1 else "")
            image = np.full((4, 6, 3), 40 * label + i, np.uint8)
            cv2.imwrite(str(folder / f"{i}.PNG"), image)
    (tmp_path / "val/ant/notes.txt").write_text("no image")
    (tmp_path / "val/.cache").mkdir()
    return tmp_path


def zipped(root: Path, outer: str) -> None:
    """``val.zip`` in place of ``val/``, with its classes inside ``outer``."""
    with zipfile.ZipFile(root / "val.zip", "w") as archive:
        for path in sorted((root / "val").rglob("*")):
            archive.write(path, Path(outer) / path.relative_to(root / "val"))
    shutil.rmtree(root / "val")


def build(root: Path, **kwargs: object) -> ImageFolder:
    init_default_scope("mmdet")
    cfg = dict(type="mmptq.ImageFolder", data_root=f"{root}/", data_prefix=dict(img="val/"))
    return DATASETS.build({**cfg, "pipeline": LOAD, **kwargs})


@pytest.mark.parametrize("form", ["folder", "zip", "zip with an outer folder"])
def test_images_and_labels(root: Path, form: str) -> None:
    if form != "folder":
        zipped(root, "some_name" if "outer" in form else "")
    found = build(root)
    assert found.metainfo["classes"] == ("ant", "bee")
    assert len(found) == 5
    for data, label in zip((found[i] for i in range(5)), (0, 0, 0, 1, 1), strict=True):
        sample = data["data_samples"]
        assert sample.gt_label.tolist() == [label]
        assert sample.ori_shape == (4, 6)
        assert data["inputs"].shape == (3, 4, 6)
        # The file's own value, from which its class can be told.
        assert int(data["inputs"][0, 0, 0]) // 40 == label
        assert "0.PNG 1.PNG 2.PNG".find(Path(sample.img_path).name) >= 0


def test_order_of_the_classes_can_be_given(root: Path) -> None:
    found = build(root, metainfo=dict(classes=("bee", "ant")))
    assert [found.get_data_info(i)["gt_label"] for i in range(5)] == [1, 1, 1, 0, 0]


def test_missing_folder(root: Path) -> None:
    with pytest.raises(CalibrationDataError, match=r"no folder .*test and no test.zip.*data-root"):
        build(root, data_prefix=dict(img="test/"))


def test_no_classes(root: Path) -> None:
    with pytest.raises(CalibrationDataError, match="has no class folders"):
        build(root, data_prefix=dict(img="val/bee/more"))


def test_empty_class(root: Path) -> None:
    (root / "val/cow").mkdir()
    with pytest.raises(CalibrationDataError, match="the class folder cow holds no image"):
        build(root)


@pytest.mark.parametrize("classes", [("ant",), ("ant", "bee", "cat")])
def test_other_classes_than_folders(root: Path, classes: tuple[str, ...]) -> None:
    wrong = "bee" if len(classes) == 1 else "cat"
    with pytest.raises(
        CalibrationDataError, match=f"2 class folders, .* names {len(classes)}.*{wrong}"
    ):
        build(root, metainfo=dict(classes=classes))


def test_empty_file_in_an_archive(root: Path) -> None:
    (root / "val/bee/9.jpg").touch()
    zipped(root, "val")
    with pytest.raises(CalibrationDataError, match="val.zip: val/bee/9.jpg is an empty file"):
        build(root)


def test_broken_archive(root: Path) -> None:
    shutil.rmtree(root / "val")
    (root / "val.zip").write_bytes(b"PK no archive")
    with pytest.raises(CalibrationDataError, match="val.zip is no zip archive"):
        build(root)
