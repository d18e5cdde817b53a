"""A small classification project of a user's: images in folders, a config, float weights.

Each image stands in the folder of the class that the (randomly weighted) float model predicts, so
the float accuracy is 100 % and quantization lowers it as it lowers a trained model's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmptq.classifiers import CifarResNet
from tests.tiny_project import REPO

CLASSES = ("ant", "bee", "cat")
SIZE, NUM_TRAIN, NUM_TEST = 16, 24, 18
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 55.0)

CONFIG = """
_base_ = ["mmdet::_base_/default_runtime.py", "{repo}/configs/_base_/quant/w4a4.py",
          "{repo}/configs/_base_/calib/mmse.py"]
data_root = {root!r}
pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=({size}, {size})),
    dict(type="mmptq.PackClassInputs"),
]
train_dataloader = dict(
    batch_size=8, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="mmptq.ImageFolder", data_root=data_root, data_prefix=dict(img="train/"),
                 pipeline=pipeline),
)
test_dataloader = dict(
    batch_size=8, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="mmptq.ImageFolder", data_root=data_root, data_prefix=dict(img="test/"),
                 pipeline=pipeline, test_mode=True),
)
test_evaluator = dict(type="mmptq.TopKAccuracy", topk=(1, 2))
test_cfg = dict(type="TestLoop")
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=1)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1))
model = dict(
    type="mmptq.QuantClassifier",
    classifier_type="mmptq.CifarResNet",
    depth=8,
    num_classes=3,
    data_preprocessor=dict(
        type="ImgDataPreprocessor", mean={mean!r}, std={std!r}, bgr_to_rgb=True
    ),
)
calib_cfg = dict(num_images=12, batch_size=4)
load_from = {checkpoint!r}
"""


@dataclass(frozen=True)
class ClassProject:
    """Where its parts are."""

    root: Path
    config: Path

    def load(self, work_dir: Path, **changes: Any) -> Config:
        """The config, to be run in ``work_dir``."""
        cfg = Config.fromfile(self.config)
        cfg.work_dir, cfg.launcher = str(work_dir), "none"
        cfg.merge_from_dict(changes)
        return cfg


def make_class_project(root: Path, randomise: Any) -> ClassProject:
    """Write a project into the empty folder ``root``."""
    model = randomise(CifarResNet(depth=8, num_classes=len(CLASSES))).eval()
    rng = np.random.default_rng(0)
    centre_logits(model, rng)
    for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        images = draw_of_each_class(model, rng, count // len(CLASSES))
        for name, found in zip(CLASSES, images, strict=True):
            (root / split / name).mkdir(parents=True)
            for i, image in enumerate(found):
                cv2.imwrite(str(root / split / name / f"{i}.png"), image)
    torch.save(model.state_dict(), root / "float.pth")
    text = CONFIG.format(
        repo=REPO,
        root=f"{root}/",
        size=SIZE,
        mean=list(MEAN),
        std=list(STD),
        checkpoint=f"{root}/float.pth",
    )
    (root / "config.py").write_text(text)
    return ClassProject(root, root / "config.py")


@torch.no_grad()
def centre_logits(model: nn.Module, rng: Any) -> None:
    """Make the classes about equally frequent."""
    batch = torch.stack([preprocess(draw(rng)) for _ in range(64)])
    model.linear.bias -= model(batch).mean(0)


@torch.no_grad()
def draw_of_each_class(model: nn.Module, rng: Any, count: int) -> list[list[np.ndarray]]:
    """``count`` BGR images for each class that the model predicts."""
    found: list[list[np.ndarray]] = [[] for _ in CLASSES]
    while min(map(len, found)) < count:
        image = draw(rng)
        found[int(model(preprocess(image)[None]).argmax())].append(image)
    return [of_class[:count] for of_class in found]


def draw(rng: Any) -> np.ndarray:
    """A smooth coloured ground with a rectangle."""
    ground = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    image = cv2.resize(ground, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    x, y = (int(v) for v in rng.integers(0, SIZE - 6, 2))
    colour = [int(c) for c in rng.integers(0, 255, 3)]
    cv2.rectangle(image, (x, y), (x + 5, y + 5), colour, -1)
    return image


def preprocess(image: np.ndarray) -> Tensor:
    """What the pipeline and the data preprocessor make of a BGR image."""
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1).float()
    return (rgb - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
