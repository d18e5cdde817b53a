"""Data samples of images that nobody has annotated."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import Tensor

_OBJECTS = ((0.1, 0.1, 0.6, 0.7), (0.4, 0.3, 0.9, 0.8))  # corners, as shares of the image


def blank_sample(image: Tensor, metainfo: Mapping[str, Any]) -> DetDataSample:
    """The data sample of one unscaled image.

    Args:
        image: ``(N, C, H, W)``, of whose size it is.
        metainfo: What it knows beside shapes.
    """
    height, width = image.shape[-2:]
    shapes = ("img_shape", "ori_shape", "pad_shape", "batch_input_shape")
    shape = dict.fromkeys(shapes, (height, width))
    return DetDataSample(metainfo={**metainfo, **shape, "scale_factor": (1.0, 1.0)})


def add_labels(sample: DetDataSample, device: torch.device, with_masks: bool) -> None:
    """Label a blank sample with two objects of class 0 and a semantic map.

    Args:
        sample: Gets the labels.
        device: Of the image.
        with_masks: Whether the objects have masks; some heads take them for theirs to learn.
    """
    height, width = sample.img_shape
    objects = _objects(height, width, device)
    if with_masks:
        objects.masks = _masks(objects.bboxes, height, width)
    sample.gt_instances, sample.ignored_instances = objects, objects[:0]
    semantic = torch.zeros(1, height, width, dtype=torch.long, device=device)
    sample.gt_sem_seg = PixelData(sem_seg=semantic)


def fresh(element: BaseDataElement) -> BaseDataElement:
    """A copy whose fields may be replaced; the tensors are the same."""
    copy = element.new()
    for name, value in copy.items():
        if isinstance(value, BaseDataElement):
            setattr(copy, name, fresh(value))
    return copy


def _objects(height: int, width: int, device: torch.device) -> InstanceData:
    boxes = torch.tensor(_OBJECTS) * torch.tensor([width, height, width, height])
    labels = torch.zeros(len(boxes), dtype=torch.long, device=device)
    return InstanceData(bboxes=boxes.to(device), labels=labels)


def _masks(boxes: Tensor, height: int, width: int) -> BitmapMasks:
    masks = np.zeros((len(boxes), height, width), dtype=np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    return BitmapMasks(masks, height, width)
