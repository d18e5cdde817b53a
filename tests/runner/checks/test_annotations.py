"""What is wrong with an annotation is told with its file, its id and its key."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.runner.calib_dataset import build_dataset
from mmptq.runner.checks import annotation_at_fault, annotations, check_truth

Spoil = Callable[[dict[str, Any]], Any]

XML = (
    "<annotation><size><width>60</width><height>40</height></size><object><name>ant</name>"
    "<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


@pytest.fixture
def spoilt(tiny_project: Any, tmp_path: Path) -> Callable[[Spoil], dict[str, Any]]:
    """``spoilt(change)``: the config of a set whose annotation file ``change`` has spoilt."""
    init_default_scope("mmdet")

    def make(change: Spoil) -> dict[str, Any]:
        content = json.loads((tiny_project("retinanet").root / "val.json").read_text())
        change(content)
        (tmp_path / "val.json").write_text(json.dumps(content))
        cfg = tiny_project("retinanet").load(tmp_path).test_dataloader.dataset
        return cfg | {"ann_file": str(tmp_path / "val.json")}

    return make


def without(key: str, kind: str = "annotations") -> Spoil:
    return lambda content: [entry.pop(key) for entry in content[kind][2:]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("area"), ["annotation 3 of image 1", "lacks 'area'"]),
        (without("category_id"), ["annotation 3 of image 1", "lacks 'category_id'"]),
        (without("bbox"), ["annotation 3 of image 1", "lacks 'bbox'"]),
        (without("image_id"), ["annotation 3", "lacks 'image_id'"]),
        (without("id"), ["an annotation of image 1", "lacks 'id'"]),
        (without("width", "images"), ["image entry '2.png'", "lacks 'width'"]),
        (without("file_name", "images"), ["image entry 2", "lacks 'file_name'"]),
        (without("id", "images"), ["image entry '2.png'", "lacks 'id'"]),
        (lambda c: c.pop("categories"), ["lacks 'categories'"]),
        (lambda c: c["annotations"][1]["bbox"].pop(), ["annotation 2 of image 0", "is broken"]),
    ],
)
def test_coco_files_that_break_the_data_set(change, words, spoilt):
    with pytest.raises(CalibrationDataError) as error:
        build_dataset(spoilt(change), "the test set")
    for word in ("the test set", "val.json", *words):
        assert word in str(error.value)


def zero_size(content: dict[str, Any]) -> None:
    for image in content["images"]:
        image.update(width=0, height=0)


def zero_width(content: dict[str, Any]) -> None:
    content["annotations"][1]["bbox"][2] = 0


@pytest.mark.parametrize("change", [without("iscrowd"), zero_size, zero_width])
def test_what_mmdetection_reads_is_tolerated(change, spoilt):
    assert len(build_dataset(spoilt(change), "the calibration set")) == 5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (XML[:90], "unclosed token"),
        (XML.replace("xmin", "left"), "bnd_box.find('xmin').text"),
        (XML.replace("<xmin>3", "<xmin>nan"), "NaN"),
        (XML.replace("width", "breadth"), "size.find('width').text"),
    ],
)
def test_voc_files(content, reason, tmp_path):
    init_default_scope("mmdet")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text(XML)
    (tmp_path / "Annotations/b.xml").write_text(content)
    (tmp_path / "list.txt").write_text("a\nb\n")
    cfg = dict(
        type="VOCDataset",
        data_root=f"{tmp_path}/",
        data_prefix=dict(sub_data_root=""),
        ann_file="list.txt",
        metainfo=dict(classes=("ant",)),
        pipeline=[],
    )
    with pytest.raises(CalibrationDataError) as error:
        build_dataset(cfg, "the calibration set")
    assert f"{tmp_path}/Annotations/b.xml is broken" in str(error.value)
    assert reason in str(error.value)


def test_other_errors_blame_no_annotation(tmp_path):
    for error in (KeyError("Coco is not in the registry"), FileNotFoundError("x"), ValueError("x")):
        try:
            raise error
        except Exception as raised:
            assert annotation_at_fault(raised) == ""


@pytest.fixture
def checked(spoilt: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """``checked(change, **metric)``: what the check of the evaluator's annotations logs."""
    said: list[str] = []
    monkeypatch.setattr(annotations, "print_log", lambda text, **_: said.append(text))

    def check(change: Spoil, **metric: Any) -> list[str]:
        whole = build_dataset(spoilt(lambda _: None), "the test set")
        file = spoilt(change)["ann_file"]
        evaluator = Evaluator(dict(type="CocoMetric", ann_file=file, **metric))
        check_truth(evaluator, whole)
        return said

    return check


@pytest.mark.parametrize("key", ["iscrowd", "area", "bbox"])
def test_what_cocos_evaluation_needs(key, checked):
    with pytest.raises(ConfigError, match=f"annotation 3 lacks '{key}', and so do 8 more"):
        checked(without(key))


def test_masks_are_needed_where_they_are_measured(checked):
    assert checked(lambda _: None) == []
    with pytest.raises(ConfigError, match="annotation 1 lacks 'segmentation'"):
        checked(lambda _: None, metric=["bbox", "segm"])


def test_other_categories_need_nothing(checked):
    def add(content: dict[str, Any]) -> None:
        content["categories"].append({"id": 9, "name": "emu"})
        content["annotations"].append({"id": 99, "image_id": 0, "category_id": 9})

    assert checked(add) == []


def test_boxes_that_are_no_numbers_are_told(checked):
    def spoil(content: dict[str, Any]) -> None:
        content["annotations"][4]["bbox"][0] = math.nan

    (message,) = checked(spoil)
    assert "annotation 5 and 0 more is NaN" in message
    with pytest.raises(ConfigError, match="bbox of annotation 2 has not the four numbers"):
        checked(lambda content: content["annotations"][1]["bbox"].pop())
