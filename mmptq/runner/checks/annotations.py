"""Annotations that break the data set or the evaluation: which file, which entry, what it lacks."""

import traceback
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from pycocotools.coco import COCO

from mmptq.engine import inner_datasets
from mmptq.errors import ConfigError

# What COCO's evaluation reads of an object.
_NEEDED = ("image_id", "category_id", "bbox", "area", "iscrowd")


def annotation_at_fault(error: BaseException) -> str:
    """The annotation that was being read when ``error`` was raised, and what is wrong with it.

    It is found among the variables of the functions that were at work, so no file is read again and
    data sets of any kind are served.

    Returns:
        Empty where no annotation was being read.
    """
    while error.__context__ is not None or error.__cause__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, OSError):
        return ""  # a file is missing, whatever it holds
    key = error.args[0] if isinstance(error, KeyError) else None
    if key is not None and not str(key).isidentifier():
        return ""  # a sentence about something else
    for frame in reversed(frames):
        records = [v for v in frame.f_locals.values() if isinstance(v, dict) and key not in v]
        for describe in (_object, _image):
            for found in filter(None, map(describe, records)):
                return f"{found} {_reason(error)}"
    return "" if key is None else f"the file {_reason(error)}"


def _object(record: dict[str, Any]) -> str:
    if not any(name in record for name in ("bbox", "category_id", "image_id")):
        return ""
    image = f" of image {record['image_id']!r}" if "image_id" in record else ""
    return (f"annotation {record['id']!r}" if "id" in record else "an annotation") + image


def _image(record: dict[str, Any]) -> str:
    if "xml_path" in record:
        return f"the annotation file {record['xml_path']}"
    if "file_name" in record:
        return f"the image entry {record['file_name']!r}"
    if "width" in record and "height" in record:
        return f"the image entry {record.get('id')!r}"
    return ""


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"lacks {error.args[0]!r}; add it to the file"
    line = traceback.extract_tb(error.__traceback__)[-1].line
    return (
        f"is broken or lacks an entry ({error}, at `{line}`); correct the file, or leave the "
        "image out"
    )


def check_truth(evaluator: Evaluator, test_set: BaseDataset) -> None:
    """Check the annotations that the metrics hold, as COCO's evaluation reads them.

    Args:
        evaluator: With its annotations read.
        test_set: Objects of other categories than its classes are not evaluated.

    Raises:
        ConfigError: An object lacks a key (names the first and how many do).
    """
    classes = {
        name for inner in inner_datasets(test_set) for name in inner.metainfo.get("classes") or ()
    }
    for metric in evaluator.metrics:
        for truth in vars(metric).values():
            if isinstance(truth, COCO):
                needed = list(_NEEDED)
                if "segm" in getattr(metric, "metrics", ()):
                    needed.append("segmentation")
                _check_objects(truth, needed, classes)


def _check_objects(truth: COCO, needed: Sequence[str], classes: Collection[str]) -> None:
    wanted = {i for i, c in truth.cats.items() if not classes or c.get("name") in classes}
    objects = [a for a in truth.anns.values() if a.get("category_id") in wanted]
    for key in needed:
        lacking = [entry["id"] for entry in objects if key not in entry]
        if lacking:
            hint = ' ("iscrowd": 0 for a single object)' if key == "iscrowd" else ""
            raise ConfigError(
                f"test_evaluator.ann_file: annotation {lacking[0]!r} lacks {key!r}, and so do "
                f"{len(lacking) - 1} more; COCO's evaluation needs it{hint}: add it to the file"
            )
    odd = [entry["id"] for entry in objects if np.shape(entry["bbox"]) != (4,)]
    if odd:
        raise ConfigError(
            f"test_evaluator.ann_file: the bbox of annotation {odd[0]!r} has not the four numbers "
            "x, y, width, height; correct the file"
        )
    boxes = np.array([[*entry["bbox"], entry["area"]] for entry in objects], float).reshape(-1, 5)
    broken = np.flatnonzero(~np.isfinite(boxes).all(1))
    if len(broken):
        print_log(
            f"test_evaluator.ann_file: bbox or area of annotation {objects[broken[0]]['id']!r} and "
            f"{len(broken) - 1} more is NaN or infinite; such an object can never be found",
            logger="current",
            level=30,
        )
