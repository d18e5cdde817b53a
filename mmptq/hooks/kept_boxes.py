"""Boxes to be drawn, kept on disk so that a resumed run has those of before."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmptq.fileio import save_json
from mmptq.hooks.drawing import Boxes

Found = dict[str, dict[str, Boxes]]  # method -> image path -> detections


def save_boxes(path: Path, chosen: Sequence[str], found: Mapping[str, Mapping[str, Boxes]]) -> None:
    """Write the images that are drawn, and each method's detections on them.

    Raises:
        MmptqError: The file cannot be written.
    """
    content = {
        "chosen": list(chosen),
        "found": {
            method: {image: _to_lists(boxes) for image, boxes in images.items()}
            for method, images in found.items()
        },
    }
    save_json(path, content, indent=None)


def load_boxes(path: Path) -> tuple[list[str] | None, Found]:
    """Inverse of :func:`save_boxes`; nothing is chosen where there is no file."""
    if not path.is_file():
        return None, {}
    content = json.loads(path.read_text())
    found = {
        method: {image: _from_lists(boxes) for image, boxes in images.items()}
        for method, images in content["found"].items()
    }
    return content["chosen"], found


def _to_lists(boxes: Boxes) -> dict[str, list[float]]:
    return {
        "boxes": boxes.boxes.tolist(),
        "scores": boxes.scores.tolist(),
        "labels": boxes.labels.tolist(),
    }


def _from_lists(values: Mapping[str, list[float]]) -> Boxes:
    return Boxes(
        np.array(values["boxes"], dtype=np.float32).reshape(-1, 4),
        np.array(values["scores"], dtype=np.float32),
        np.array(values["labels"], dtype=np.int64),
    )
