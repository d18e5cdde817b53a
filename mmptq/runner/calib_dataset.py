"""The calibration set's config, derived from the MMDetection config where it is not given."""

import copy
import os.path as osp
from collections.abc import Mapping
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from mmptq.engine import image_path
from mmptq.errors import CalibrationDataError, ConfigError

# Pack images with a label in place of boxes; theirs is in the dataset, nothing loads it.
_CLASS_PACKERS = ("PackClassInputs", "PackInputs")

# numpy's words when MMEngine packs the annotations of no images into one array.
_NO_IMAGES = "need at least one array to concatenate"


def calibration_dataset_cfg(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """``calib_dataloader.dataset``, or the train split under the test pipeline.

    Labels are loaded before any other transform there: a test pipeline loads them after resizing,
    which leaves them in the original image's frame, but a loss needs them in the input's.

    Raises:
        ConfigError: Neither can be had from the config.
    """
    if cfg.get("calib_dataloader"):
        dataset = copy.deepcopy(cfg["calib_dataloader"]["dataset"])
        if "pipeline" in dataset:
            dataset["pipeline"] = labels_first(dataset["pipeline"])
        return dataset
    if not cfg.get("train_dataloader") or not cfg.get("test_dataloader"):
        raise ConfigError(
            "the config has no train_dataloader and test_dataloader to derive the calibration set "
            "from; set calib_dataloader = dict(dataset=dict(...))"
        )
    dataset = copy.deepcopy(cfg["train_dataloader"]["dataset"])
    while "dataset" in dataset:  # RepeatDataset, ClassBalancedDataset, MultiImageMixDataset, ...
        dataset = dataset["dataset"]
    if "datasets" in dataset:
        raise ConfigError(
            f"train_dataloader.dataset is a {dataset['type']} of several sets; name the one to "
            "calibrate on by calib_dataloader = dict(dataset=dict(...))"
        )
    dataset["pipeline"] = labels_first(_pipeline(cfg["test_dataloader"]["dataset"]))
    return dataset


def labels_first(pipeline: Any) -> list[Any]:
    """A copy of ``pipeline`` that loads annotations right after the image.

    Where it loads none, boxes are loaded; a dataset without annotations then has empty ones. A
    classification pipeline stays as it is.
    """
    steps = copy.deepcopy(list(pipeline))
    if any(step["type"].rpartition(".")[2] in _CLASS_PACKERS for step in steps):
        return steps
    labels = [step for step in steps if "LoadAnnotations" in step["type"]]
    rest = [step for step in steps if "LoadAnnotations" not in step["type"]]
    images = [i for i, step in enumerate(rest) if "Load" in step["type"]]
    place = images[-1] + 1 if images else 0
    return (
        rest[:place] + (labels or [{"type": "LoadAnnotations", "with_bbox": True}]) + rest[place:]
    )


def _pipeline(dataset: Mapping[str, Any]) -> Any:
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset["pipeline"]


def build_dataset(cfg: dict[str, Any], key: str) -> BaseDataset:
    """Build a dataset and read its annotations.

    Raises:
        CalibrationDataError: A file is missing or unreadable, or no image is left (names the key
            and the file).
    """
    where = ", ".join(f"{k} = {cfg[k]!r}" for k in ("data_root", "ann_file") if k in cfg)
    try:
        return DATASETS.build(cfg)
    except (OSError, ValueError, AssertionError, KeyError) as error:
        if _NO_IMAGES in str(error):
            raise CalibrationDataError(
                f"{key} is empty ({where}): no image passes its filter_cfg; check ann_file and "
                "metainfo.classes"
            ) from error
        raise CalibrationDataError(
            f"cannot read {key} ({where}): {error}; check the paths, or give --data-root"
        ) from error


def warn_about_overlap(paths: list[str], test_set: BaseDataset) -> int:
    """Warn when calibration images are evaluated on as well; returns how many there are."""
    tested = {osp.realpath(image_path(test_set, i)) for i in range(len(test_set))}
    shared = sum(osp.realpath(path) in tested for path in paths)
    if shared:
        print_log(
            f"{shared} of {len(paths)} calibration images are in the test set: the quantized "
            "model's figures will look better than they are. Calibrate on the train split",
            logger="current",
            level=30,
        )
    return shared
