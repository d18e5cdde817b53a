"""A whole project of a user's, small enough to quantize in seconds: images, configs, weights.

The objects to find are what the (randomly weighted) float detector finds with the most confidence,
so its mAP is high, and quantization lowers it as it lowers a trained detector's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn

from mmptq.evaluation import Results
from mmptq.runner import CalibrationRunner

REPO = Path(__file__).parent.parent
CLASSES = ("ant", "bee", "cat", "dog")
SIZES = ((96, 80), (96, 96), (72, 96), (96, 64))  # (width, height)
NUM_TRAIN, NUM_VAL = 9, 5

DATA = """
data_root = {root!r}
pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(96, 96), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
metainfo = dict(classes=("ant", "bee", "cat", "dog"))
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="RepeatDataset",
        times=2,
        dataset=dict(
            type="CocoDataset",
            data_root=data_root,
            metainfo=metainfo,
            ann_file="train.json",
            data_prefix=dict(img="train/"),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=[dict(type="LoadImageFromFile"), dict(type="PackDetInputs")],
        ),
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CocoDataset",
        data_root=data_root,
        metainfo=metainfo,
        ann_file="val.json",
        data_prefix=dict(img="val/"),
        test_mode=True,
        pipeline=pipeline,
    ),
)
test_evaluator = dict(type="CocoMetric", ann_file=data_root + "val.json", metric="bbox")
val_dataloader, val_evaluator = test_dataloader, test_evaluator
"""

BACKBONE = """
    backbone=dict(
        depth=18, base_channels=8, stem_channels=8, frozen_stages=1, init_cfg=None,
    ),
"""

RETINANET = f"""
_base_ = ["mmdet::_base_/models/retinanet_r50_fpn.py", "mmdet::_base_/default_runtime.py",
          "mmdet::_base_/schedules/schedule_1x.py", "./data.py"]
model = dict({BACKBONE}
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(
        num_classes=4, in_channels=16, feat_channels=16, stacked_convs=2,
        anchor_generator=dict(octave_base_scale=2, scales_per_octave=1),
    ),
    test_cfg=dict(nms_pre=100, max_per_img=20),
)
"""

FASTER_RCNN = f"""
_base_ = ["mmdet::_base_/models/faster-rcnn_r50_fpn.py", "mmdet::_base_/default_runtime.py",
          "mmdet::_base_/schedules/schedule_1x.py", "./data.py"]
model = dict({BACKBONE}
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(num_classes=4, in_channels=16, fc_out_channels=32),
    ),
    test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=20), rcnn=dict(max_per_img=20)),
)
"""

QUANTIZED = """
_base_ = ["./float.py", "{repo}/configs/_base_/quant/w8a8.py",
          "{repo}/configs/_base_/calib/mmse.py"]
model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
calib_cfg = dict(num_images=6)
load_from = {checkpoint!r}
"""

FLOAT_CONFIGS = {"retinanet": RETINANET, "faster_rcnn": FASTER_RCNN}


@dataclass(frozen=True)
class TinyProject:
    """Where the parts of a project are.

    Args:
        root: Folder of everything: ``train/``, ``val/``, ``train.json``, ``val.json``, configs.
        float_config: An MMDetection config.
        config: Its quantization at W8A8 by MMSE.
        checkpoint: The float weights, in the form that MMEngine saves.
    """

    root: Path
    float_config: Path
    config: Path
    checkpoint: Path

    def load(self, work_dir: Path, **changes: Any) -> Config:
        """The quantization config, to be run in ``work_dir``."""
        cfg = Config.fromfile(self.config)
        cfg.work_dir = str(work_dir)
        cfg.launcher = "none"
        cfg.merge_from_dict(changes)
        return cfg

    def image(self, index: int) -> Path:
        """A validation image."""
        return self.root / f"val/{index}.png"


@dataclass(frozen=True)
class Calibrated:
    """A finished run.

    Args:
        work_dir: What it wrote.
        runner: It, with the quantized model.
        results: What it returned.
    """

    work_dir: Path
    runner: CalibrationRunner
    results: Results

    @property
    def config(self) -> Path:
        """The config that the runner dumped."""
        return self.work_dir / Path(self.runner.cfg.filename).name

    @property
    def checkpoint(self) -> Path:
        """The quantized checkpoint."""
        return self.work_dir / "quantized.pth"

    @property
    def metrics(self) -> dict[str, float]:
        """The recipe's metrics."""
        return self.results.rows[-1].metrics


def make_project(root: Path, family: str, randomise: Any) -> TinyProject:
    """Write a project of ``family`` into ``root``.

    Args:
        root: An empty folder.
        family: A key of :data:`FLOAT_CONFIGS`.
        randomise: Gives a model sensible random weights, in place.
    """
    checkpoint = root / "float.pth"
    (root / "data.py").write_text(DATA.format(root=f"{root}/"))
    (root / "float.py").write_text(FLOAT_CONFIGS[family])
    quantized = QUANTIZED.format(repo=REPO, checkpoint=str(checkpoint))
    (root / f"{family}_w8a8.py").write_text(quantized)
    rng = np.random.default_rng(0)
    for split, count in (("train", NUM_TRAIN), ("val", NUM_VAL)):
        (root / split).mkdir()
        sizes = [SIZES[i % len(SIZES)] for i in range(count)]
        for i, size in enumerate(sizes):
            cv2.imwrite(str(root / split / f"{i}.png"), draw(rng, *size))
        write_annotations(root / f"{split}.json", sizes, [[([8.0, 8, 20, 20], 0)]] * count)

    cfg = Config.fromfile(root / "float.py")
    init_default_scope("mmdet")
    model = randomise(MODELS.build(cfg.model)).eval()
    torch.save({"meta": {"epoch": 1}, "state_dict": model.state_dict()}, checkpoint)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    sizes = [SIZES[i % len(SIZES)] for i in range(NUM_VAL)]
    found = [find_objects(model, dataset[i]) for i in range(NUM_VAL)]
    write_annotations(root / "val.json", sizes, found)
    return TinyProject(root, root / "float.py", root / f"{family}_w8a8.py", checkpoint)


def draw(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Coloured rectangles on a smooth ground."""
    ground = rng.integers(0, 255, (3, 3, 3), dtype=np.uint8)
    image = cv2.resize(ground, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(4):
        x, y = int(rng.integers(0, width - 16)), int(rng.integers(0, height - 16))
        side, colour = int(rng.integers(8, 40)), [int(c) for c in rng.integers(0, 255, 3)]
        cv2.rectangle(image, (x, y), (x + side, y + side), colour, -1)
    return image


@torch.no_grad()
def find_objects(
    model: nn.Module, data: dict[str, Any], least_side: float = 4.0
) -> list[tuple[list[float], int]]:
    """The three best detections that are of some size: ``([x, y, w, h], class index)``."""
    found = model.test_step(pseudo_collate([data]))[0].pred_instances
    objects = []
    for (x1, y1, x2, y2), label in zip(found.bboxes.tolist(), found.labels.tolist(), strict=True):
        if x2 - x1 >= least_side and y2 - y1 >= least_side:
            objects.append(([x1, y1, x2 - x1, y2 - y1], label))
    return objects[:3]


def write_annotations(
    path: Path, sizes: list[tuple[int, int]], objects: list[list[tuple[list[float], int]]]
) -> None:
    """A COCO annotation file for images ``0.png``, ``1.png``, ... of these sizes."""
    images = [
        {"id": i, "file_name": f"{i}.png", "width": width, "height": height}
        for i, (width, height) in enumerate(sizes)
    ]
    annotations = [
        {"image_id": i, "bbox": box, "category_id": label + 1, "area": box[2] * box[3]}
        for i, of_image in enumerate(objects)
        for box, label in of_image
    ]
    for i, annotation in enumerate(annotations):
        annotation.update(id=i + 1, iscrowd=0)
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
