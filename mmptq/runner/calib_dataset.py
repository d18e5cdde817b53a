"""The calibration set's config, derived from the MMDetection config where it is not given."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from mmptq.engine import image_path
from mmptq.errors import CalibrationDataError, ConfigError


def calibration_dataset_cfg(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """``calib_dataloader.dataset``, or the train split under the test pipeline.

    Raises:
        ConfigError: Neither can be had from the config.
    """
    if cfg.get("calib_dataloader"):
        return copy.deepcopy(cfg["calib_dataloader"]["dataset"])
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
    dataset["pipeline"] = copy.deepcopy(_pipeline(cfg["test_dataloader"]["dataset"]))
    return dataset


def _pipeline(dataset: Mapping[str, Any]) -> Any:
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset["pipeline"]


def build_dataset(cfg: dict[str, Any], key: str) -> BaseDataset:
    """Build a dataset and read its annotations.

    Raises:
        CalibrationDataError: A file is missing or unreadable (names the key and the file).
    """
    try:
        return DATASETS.build(cfg)
    except (OSError, ValueError, AssertionError, KeyError) as error:
        where = ", ".join(f"{k} = {cfg[k]!r}" for k in ("data_root", "ann_file") if k in cfg)
        raise CalibrationDataError(
            f"cannot read {key} ({where}): {error}; check the paths, or give --data-root"
        ) from error


def warn_about_overlap(paths: list[str], test_set: BaseDataset) -> int:
    """Warn when calibration images are evaluated on as well; returns how many there are."""
    tested = {image_path(test_set, i) for i in range(len(test_set))}
    shared = sum(path in tested for path in paths)
    if shared:
        print_log(
            f"{shared} of {len(paths)} calibration images are in the test set: the quantized "
            "model's figures will look better than they are. Calibrate on the train split",
            logger="current",
            level=30,
        )
    return shared
