"""Whole runs on several sets, in VOC's format, from a storage of one's own, in one channel."""

import copy
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend

from mmptq.evaluation import Results
from mmptq.runner import CalibrationRunner
from tests.tiny_project import CLASSES, NUM_TRAIN, TinyProject

Run = Callable[..., CalibrationRunner]


@register_backend("cellar", force=True)
class Cellar(LocalBackend):
    """Image files under another path than the config's, as data bases and archives have them."""

    def __init__(self, there: str) -> None:
        self.there = there

    def get(self, filepath: str | Path) -> bytes:
        return super().get(Path(self.there, *Path(filepath).parts[-2:]))


@pytest.fixture
def project(tiny_project: Callable[[str], TinyProject]) -> TinyProject:
    return tiny_project("retinanet")


@pytest.fixture
def config(project: TinyProject, tmp_path: Path, request: pytest.FixtureRequest) -> Config:
    cfg = project.load(tmp_path / "run")
    cfg.experiment_name = cfg.visualizer.name = request.node.name
    cfg.calib_cfg.baseline = False
    return cfg


def calibrate(cfg: Config) -> tuple[Results, set[str]]:
    """The results as they stand on disk, and the names of the pictures."""
    CalibrationRunner.from_cfg(cfg).calibrate()
    folder = Path(cfg.work_dir)
    return Results.from_json(folder / "results.json"), {p.name for p in folder.glob("pictures/*")}


def test_concatenated_sets_with_an_evaluator_each(config, project, calibrated):
    metric = dict(type="CocoMetric", metric="bbox", ann_file=str(project.root / "val.json"))
    test, train = config.test_dataloader, config.train_dataloader.dataset.dataset
    test.dataset = dict(type="ConcatDataset", datasets=[test.dataset, copy.deepcopy(test.dataset)])
    config.test_evaluator = dict(
        type="MultiDatasetsEvaluator",
        metrics=[metric, dict(type="VOCMetric", metric="mAP")],
        dataset_prefixes=["A", "B"],
    )
    several = dict(type="ConcatDataset", datasets=[train, copy.deepcopy(train)])
    config.train_dataloader.dataset = dict(type="RepeatDataset", times=3, dataset=several)
    config.calib_cfg.num_images = NUM_TRAIN + 3
    results, pictures = calibrate(config)
    for row in results.rows:
        assert {"A/coco/bbox_mAP", "B/pascal_voc/mAP", "B/pascal_voc/AP50"} <= set(row.metrics)
    one = calibrated("retinanet").results.float_row.metrics["bbox_mAP"]
    assert results.rows[0].metrics["A/coco/bbox_mAP"] == one
    lines = results.to_text(300).splitlines()
    assert [lines[0].count(title) for title in ("A vs float", "B vs float", "B AP50")] == [1, 1, 1]
    assert pictures


def make_voc(project: TinyProject, root: Path) -> None:
    """The project's images and objects as VOC 2007 and 2012 have them."""
    sets = (("2007", "train", "trainval"), ("2012", "train", "trainval"), ("2007", "val", "test"))
    for year, split, list_name in sets:
        content = json.loads((project.root / f"{split}.json").read_text())
        folder = root / f"VOC{year}"
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        names = []
        for image in content["images"]:
            names.append(f"{split}{image['id']}")
            pixels = cv2.imread(str(project.root / split / image["file_name"]))
            cv2.imwrite(str(folder / f"JPEGImages/{names[-1]}.jpg"), pixels)
            tree = ET.Element("annotation")
            size = ET.SubElement(tree, "size")
            for key in ("width", "height"):
                ET.SubElement(size, key).text = str(image[key])
            for entry in content["annotations"]:
                if entry["image_id"] == image["id"]:
                    x, y, width, height = entry["bbox"]
                    thing = ET.SubElement(tree, "object")
                    ET.SubElement(thing, "name").text = CLASSES[entry["category_id"] - 1]
                    box = ET.SubElement(thing, "bndbox")
                    corners = zip(
                        ("xmin", "ymin", "xmax", "ymax"),
                        (x, y, x + width, y + height),
                        strict=True,
                    )
                    for key, value in corners:
                        ET.SubElement(box, key).text = str(round(value) + 1)
            ET.ElementTree(tree).write(folder / f"Annotations/{names[-1]}.xml")
        (folder / f"ImageSets/Main/{list_name}.txt").write_text("\n".join(names) + "\n")


def adapt(node: Any, root: Path) -> None:
    """Let a stock config of VOC find the small set, at small sizes."""
    if isinstance(node, dict):
        if node.get("type") == "VOCDataset":
            node.update(data_root=f"{root}/", metainfo=dict(classes=CLASSES))
        if node.get("filter_cfg"):
            node["filter_cfg"] = dict(filter_empty_gt=True)
        if node.get("type") == "Resize":
            node["scale"] = (96, 96)
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list):
            adapt(child, root)


def test_stock_voc(config, project, tmp_path):
    stock = Config.fromfile(_stock("_base_/datasets/voc0712.py"))
    make_voc(project, tmp_path / "voc")
    for key in ("train_dataloader", "test_dataloader", "test_evaluator"):
        config[key] = stock[key]
        adapt(config[key], tmp_path / "voc")
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    config.calib_cfg.num_images = 2 * NUM_TRAIN
    runner = CalibrationRunner.from_cfg(config)
    results = runner.calibrate()
    assert set(results.rows[-1].metrics) == {"mAP", "AP50"}
    title, _, row = results.to_text(200).splitlines()[:3]
    assert title.split()[3:6] == ["mAP", "vs", "float"]
    assert row.split()[3] == f"{100 * results.rows[0].metrics['mAP']:.1f}"


def _stock(name: str) -> Path:
    import mmdet

    return Path(mmdet.__file__).parent / ".mim/configs" / name


def test_images_of_a_storage_backend(config, project, calibrated):
    config.test_dataloader.dataset.pipeline[0].backend_args = dict(
        backend="cellar", there=str(project.root)
    )
    config.test_dataloader.dataset.data_prefix = dict(img="base/val/")
    config.train_dataloader.dataset.dataset.data_prefix = dict(img="base/train/")
    results, pictures = calibrate(config)
    for found, plain in zip(results.rows, calibrated("retinanet").results.rows[::2], strict=True):
        assert found.metrics == plain.metrics
    assert len(pictures) == 4


def test_images_of_one_channel(config, project, tmp_path):
    state = torch.load(project.checkpoint, weights_only=True)
    weight = state["state_dict"]["backbone.conv1.weight"]
    state["state_dict"]["backbone.conv1.weight"] = weight.sum(1, keepdim=True)
    torch.save(state, tmp_path / "gray.pth")
    config.load_from = str(tmp_path / "gray.pth")
    config.test_dataloader.dataset.pipeline[0].color_type = "grayscale"
    config.model.backbone.in_channels = 1
    config.model.data_preprocessor.update(mean=[118.0], std=[57.0], bgr_to_rgb=False)
    results, pictures = calibrate(config)
    assert results.rows[-1].metrics["bbox_mAP"] > 0
    assert len(pictures) == 4


def test_a_model_that_detects_nothing_counts_as_zero(config):
    config.merge_from_dict(
        {
            "qconfig.weight.num_bits": 1,
            "qconfig.act.num_bits": 1,
            "model.test_cfg.score_thr": 0.9,
        }
    )
    results, _ = calibrate(config)
    float_row, row = results.rows
    assert float_row.metrics["bbox_mAP"] > 0
    assert row.metrics["bbox_mAP"] == 0
    assert set(row.metrics) == set(float_row.metrics)
    log = "".join(path.read_text() for path in Path(config.work_dir).glob("*/*.log"))
    warnings = [line for line in log.splitlines() if "metrics are missing" in line]
    assert len(warnings) == 1
    assert "WARNING" in warnings[0] and "mmse W1A1" in warnings[0]
