"""Runs as files, made by hand."""

import hashlib
import json
from pathlib import Path
from typing import Any

STEPS = [{"type": "RangeCalibration", "weight": {"type": "LpNormObserver", "p": 2.0}}]
ENVIRONMENT = {"mmptq": "0.1.0", "torch": "2.4", "device": "cpu (x)", "threads": 2}
TEST = {"dataset": "CocoDataset", "annotations": ["d/val.json"], "sha256": "ab", "images": 4}


def float_row(score: float = 0.6, **changes: Any) -> dict[str, Any]:
    costs = dict(size_mb=4.0, gbops=500.0, seconds=None, images=None, mac_share=None)
    return row("float", score, bits=32, scope="-", **costs, **changes)


def row(method: str, score: float, bits: float = 4, **changes: Any) -> dict[str, Any]:
    plain = dict(scope="full", size_mb=0.5, gbops=10.0, seconds=2.0, images=32, mac_share=1.0)
    return {"method": method, "w_bits": bits, "a_bits": bits, "bbox_mAP": score} | plain | changes


def results(
    *rows: dict[str, Any],
    method: str = "mmse",
    seed: int = 0,
    steps: list[dict[str, Any]] | None = None,
    qconfig: dict[str, Any] | None = None,
    labels: bool | None = False,
    **changes: Any,
) -> dict[str, Any]:
    """The contents of a ``results.json``."""
    bits = rows[-1]["w_bits"] if rows else 4
    calibration = {
        "method": method,
        "num_images": 32,
        "seed": seed,
        "steps": STEPS if steps is None else steps,
        "qconfig": qconfig
        or {"scope": "full", "weight": {"num_bits": bits}, "act": {"num_bits": bits}},
    }
    if labels is not None:
        calibration["labels"] = labels
    return {
        "schema": 1,
        "config": "configs/net_w4a4.py",
        "float_checkpoint": "weights/net.pth",
        "environment": ENVIRONMENT,
        "calibration": calibration,
        "test": TEST,
        "rows": list(rows),
    } | changes


def write_run(folder: Path, data: Any) -> Path:
    """``results.json`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def write_truth(path: Path, images: int = 4) -> dict[str, Any]:
    """COCO annotations with one box an image; the test set that they make."""
    truth = dict(
        images=[dict(id=i, width=64, height=64) for i in range(images)],
        annotations=[
            dict(id=i + 1, image_id=i, category_id=1, bbox=[10, 10, 30, 30], area=900, iscrowd=0)
            for i in range(images)
        ],
        categories=[dict(id=1, name="a")],
    )
    path.write_text(json.dumps(truth))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return TEST | {"annotations": [str(path)], "sha256": digest, "images": images}


def write_detections(folder: Path, method: str, shifts: list[float]) -> None:
    """A box an image, moved by so many pixels."""
    (folder / "detections").mkdir(parents=True, exist_ok=True)
    found = [
        dict(image_id=i, category_id=1, bbox=[10 + shift, 10, 30, 30], score=0.9)
        for i, shift in enumerate(shifts)
    ]
    (folder / "detections" / f"{method}.bbox.json").write_text(json.dumps(found))
