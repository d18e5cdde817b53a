"""A family's project on disk: images with boxes, masks and semantic maps, weights, annotations."""

import copy
import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import Tensor, nn

from tests.conformance import narrow  # noqa: F401  registers the narrow backbones
from tests.conformance.families import Family, dicts
from tests.conftest import randomise
from tests.tiny_project import CLASSES, SIZES, draw, find_objects, write_annotations

NUM_IMAGES = {"train": 6, "val": 4}
_COCO_CLASSES = 80
# Factors of residual branches, which begin as nearly nothing.
_LAYER_SCALES, _LEAST_SCALE = ("gamma", "layer_scale"), 1e-3
_LEAST_EPS = 1e-5  # a norm in training needs one; NAS-FCOS sets none


@dataclass(frozen=True)
class FamilyProject:
    """What a family's recipes share.

    Args:
        config: The narrow config with this project's data.
        checkpoint: Float weights.
    """

    config: Config
    checkpoint: Path


def make_images(root: Path) -> None:
    """Images, semantic maps and the annotations of the train split; all families share them."""
    rng = np.random.default_rng(0)
    for split in NUM_IMAGES:
        (root / split).mkdir()
        (root / f"seg_{split}").mkdir()
        for i, (width, height) in enumerate(sizes(split)):
            cv2.imwrite(str(root / split / f"{i}.png"), draw(rng, width, height))
            classes = rng.integers(0, len(CLASSES) + 1, (3, 3), dtype=np.uint8)
            labels = cv2.resize(classes, (width, height), interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(root / f"seg_{split}" / f"{i}.png"), labels)
    boxes = [
        [([8.0 + i, 10.0, 30.0, 24.0], i % 4), ([30.0, 28.0 - i, 20.0, 36.0], (i + 1) % 4)]
        for i in range(NUM_IMAGES["train"])
    ]
    write_annotations(root / "train.json", sizes("train"), boxes)
    outlines = [_octagon(box) for objects in boxes for box, _ in objects]
    _add_masks(root / "train.json", outlines)


def make_project(family: Family, images: Path, folder: Path) -> FamilyProject:
    """The float weights, and validation labels that the float model finds."""
    annotations = folder / "val.json"
    write_annotations(annotations, sizes("val"), [[] for _ in sizes("val")])
    cfg = family.load()
    use_data(cfg, images, annotations)
    cfg.load_from = str(folder / "float.pth")
    model = build_float(cfg, family.gain)
    torch.save({"state_dict": model.state_dict()}, cfg.load_from)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    found = [find_objects(model, dataset[i], least_side=1.0) for i in range(len(dataset))]
    write_annotations(annotations, sizes("val"), found)
    _add_masks(annotations, [_octagon(box) for objects in found for box, _ in objects])
    return FamilyProject(cfg, Path(cfg.load_from))


def build_float(cfg: Config, gain: Mapping[str, float]) -> nn.Module:
    """The float model with random weights, the same every time.

    Each layer's output has a standard deviation of one, as has each batch norm's input: otherwise
    the signal of a deep network grows or fades from layer to layer, and all scores are alike.
    """
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg.model))  # DETR's heads write into their config
    model.init_weights()
    for module in model.modules():
        if isinstance(module, nn.ConvTranspose2d | nn.Conv1d):
            module.reset_parameters()
    randomise(model)
    for name, parameter in model.named_parameters():
        scales = any(word in name for word in _LAYER_SCALES)
        if scales and parameter.abs().max() < _LEAST_SCALE:
            parameter.data.fill_(0.5)
    model.eval()  # not chained: a detector with a teacher returns nothing
    dataset = DATASETS.build(copy.deepcopy(cfg.test_dataloader.dataset))
    handles = [
        module.register_forward_hook(_normalise_output)
        for module in model.modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    ]
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum, module.eps = None, module.eps or _LEAST_EPS
            module.bias.data.add_(1.0)
            module.train()
    with torch.no_grad():
        model.test_step(pseudo_collate([dataset[i] for i in range(len(dataset))]))
    for handle in handles:
        handle.remove()
    model.eval()
    for pattern, factor in gain.items():
        for name, module in model.named_modules():
            if fnmatch.fnmatchcase(name, pattern):
                module.weight.data.mul_(factor)
    return model


def _normalise_output(layer: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    """On its first call, scale the layer so that its output has a standard deviation of one."""
    if vars(layer).setdefault("normalised", False) or output.numel() < 2:
        return None
    layer.normalised = True
    scale = output.std().clamp(min=1e-3)
    layer.weight.div_(scale)
    if layer.bias is not None:
        layer.bias.div_(scale)
    return output / scale


def use_data(cfg: Config, images: Path, annotations: Path) -> None:
    """Make ``cfg`` one of this project: its images, its four classes."""
    files = {"train": images / "train.json", "val": annotations}
    for key, split in (("train", "train"), ("val", "val"), ("test", "val")):
        loader = cfg[f"{key}_dataloader"]
        loader.update(num_workers=0, persistent_workers=False)
        for entry in dicts(loader):
            if "data_prefix" in entry:
                folders = {"img": f"{split}/", "seg": f"seg_{split}/"}
                prefix = {kind: folders[kind] for kind in entry["data_prefix"]}
                entry.update(data_root=f"{images}/", ann_file=str(files[split]))
                entry.update(data_prefix=prefix, metainfo={"classes": CLASSES})
    for key in ("val_evaluator", "test_evaluator"):
        cfg[key].ann_file = str(annotations)
    for entry in dicts(cfg.model):
        if entry.get("num_classes") == _COCO_CLASSES:
            entry["num_classes"] = len(CLASSES)


def sizes(split: str) -> list[tuple[int, int]]:
    """``(width, height)`` of the images of a split."""
    return [SIZES[i % len(SIZES)] for i in range(NUM_IMAGES[split])]


def _octagon(box: list[float]) -> list[float]:
    """The outline ``x0, y0, x1, y1, ...`` of an octagon in a box ``x, y, w, h``."""
    x, y, w, h = box
    corners = [(0.3, 0), (0.7, 0), (1, 0.3), (1, 0.7), (0.7, 1), (0.3, 1), (0, 0.7), (0, 0.3)]
    return [v for a, b in corners for v in (x + a * w, y + b * h)]


def _add_masks(path: Path, outlines: list[Any]) -> None:
    """Give the annotations of a COCO file their masks, in order."""
    content: dict[str, Any] = json.loads(path.read_text())
    for annotation, outline in zip(content["annotations"], outlines, strict=True):
        annotation["segmentation"] = [outline]
    path.write_text(json.dumps(content))
