"""Labels of the calibration set lie in the frame of the network's input."""

import copy
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmptq.runner.calib_dataset import calibration_dataset_cfg, labels_first

ROOT = Path(__file__).resolve().parents[2]


def test_labels_are_loaded_before_geometry_changes() -> None:
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="Resize", scale=(8, 8)),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
        dict(type="PackDetInputs"),
    ]
    before = copy.deepcopy(pipeline)
    moved = labels_first(pipeline)
    assert [step["type"] for step in moved] == [
        "LoadImageFromFile",
        "LoadAnnotations",
        "Resize",
        "PackDetInputs",
    ]
    assert moved[1]["with_mask"]
    assert pipeline == before
    assert labels_first(moved) == moved


def test_missing_labels_are_loaded() -> None:
    moved = labels_first([dict(type="mmdet.LoadImageFromFile"), dict(type="mmdet.PackDetInputs")])
    assert moved[1] == dict(type="mmdet.LoadAnnotations", with_bbox=True)


def test_boxes_are_scaled_with_the_image(tmp_path: Path) -> None:
    """The test pipeline leaves them in the original frame; the demo's is resized to 80 here."""
    cfg = Config.fromfile(ROOT / "configs/demo/retinanet_w4a4_lapq.py")
    init_default_scope("mmdet")
    for step in cfg.test_dataloader.dataset.pipeline:
        if step["type"] == "Resize":
            step["scale"] = (80, 80)
    data_cfg = calibration_dataset_cfg(cfg)
    dataset = DATASETS.build(data_cfg)
    sample = dataset[0]["data_samples"]
    original = np.array([i["bbox"] for i in dataset.get_data_info(0)["instances"]])
    boxes = sample.gt_instances.bboxes
    boxes = getattr(boxes, "tensor", boxes).numpy()
    assert sample.img_shape == (80, 80)
    assert np.allclose(boxes, original / 2.0, atol=1e-3)
