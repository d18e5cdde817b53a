"""What a model finds in an image, and how alike two findings are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from scipy.optimize import linear_sum_assignment
from torch import Tensor

# Differences below which rounding edges alone tell two passes of one model apart.
SCORE_TOLERANCE = 1e-4
BOX_TOLERANCE = 0.01  # pixels


@dataclass(frozen=True)
class Detections:
    """Of one image: of a classifier, every class with a box that is the image.

    Args:
        boxes: ``(K, 4)`` in pixels of the network's input.
        scores: ``(K,)``.
        labels: ``(K,)``.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Likeness:
    """Of two findings in one image.

    Args:
        close: Whether both have the same labels with scores within 1e-4 and boxes within 0.01 px.
        agreement: Share of either's detections that the other has, with the same label, an overlap
            of at least 0.5 and a score within 0.01.
        score: Largest difference among detections that overlap by at least 0.5.
        box: Largest difference among these, in pixels.
    """

    close: bool
    agreement: float
    score: float
    box: float


@torch.no_grad()
def detect(model: Any, image: Tensor, sizes: Tensor) -> list[Any]:
    """What a detector's ``predict`` finds in preprocessed images, in pixels of these.

    Args:
        model: A detector of MMDetection.
        image: ``(N, 3, H, W)``.
        sizes: Height and width of each without padding, ``(N, 2)``.

    Returns:
        ``pred_instances`` of each.
    """
    samples, padded = [], tuple(image.shape[2:])
    for height, width in sizes.tolist():
        shape = int(height), int(width)
        meta: dict[str, Any] = {"img_shape": shape, "ori_shape": shape, "scale_factor": (1.0, 1.0)}
        meta |= {"batch_input_shape": padded, "pad_shape": padded}
        meta["border"] = np.array([0, height, 0, width])  # of CenterNet: nothing was padded
        samples.append(DetDataSample(metainfo=meta))
    return [sample.pred_instances for sample in model.predict(image, samples, rescale=False)]


def likeness(first: Detections, other: Detections) -> Likeness:
    """How alike they are; each detection has one partner at most."""
    pairs = _partners(first, other)
    most = max(len(first.scores), len(other.scores))
    if not pairs:
        return Likeness(most == 0, float(most == 0), 0.0, 0.0)
    i, j = (list(index) for index in zip(*pairs, strict=True))
    scores = (first.scores[i] - other.scores[j]).abs()
    boxes = (first.boxes[i] - other.boxes[j]).abs().amax(1)
    near = (scores <= SCORE_TOLERANCE) & (boxes <= BOX_TOLERANCE)
    return Likeness(
        bool(near.all()) and len(pairs) == most,
        int((scores <= 0.01).sum()) / most,
        float(scores.max()),
        float(boxes.max()),
    )


def _partners(first: Detections, other: Detections) -> list[tuple[int, int]]:
    """Pairs of one label that overlap by at least 0.5, such that the sum of overlaps is largest."""
    overlaps = bbox_overlaps(first.boxes, other.boxes).numpy().astype(np.float64)
    # Boxes that were clipped to nothing do not even overlap themselves.
    apart = (first.boxes[:, None] - other.boxes[None]).abs().amax(2).numpy()
    overlaps[apart <= BOX_TOLERANCE] = 1.0
    # Of boxes in one place the ones with near scores.
    overlaps -= 0.01 * (first.scores[:, None] - other.scores[None]).abs().numpy()
    alike = (first.labels[:, None] == other.labels[None]).numpy() & (overlaps >= 0.49)
    rows, columns = linear_sum_assignment(np.where(alike, overlaps, 0.0), maximize=True)
    return [(i, j) for i, j in zip(rows, columns, strict=True) if alike[i, j]]
