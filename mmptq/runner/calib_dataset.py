"""The calibration set's config, derived from the MMDetection config where it is not given."""

import copy
import os.path as osp
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmcv.transforms import LoadAnnotations
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.registry import DATASETS, TRANSFORMS

from mmptq.engine import image_path, inner_datasets
from mmptq.errors import CalibrationDataError, ConfigError, MmptqError
from mmptq.runner.checks import annotation_at_fault, check_class_names

# Pack images with a label in place of boxes; theirs is in the dataset, nothing loads it.
_CLASS_PACKERS = ("PackClassInputs", "PackInputs")

_NAME = re.compile("Load.*Annotations")
_BOXES = {"type": "mmdet.LoadAnnotations", "with_bbox": True}

# numpy's words when MMEngine packs the annotations of no images into one array.
_NO_IMAGES = "need at least one array to concatenate"


def calibration_dataset_cfg(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """``calib_dataloader.dataset``, or the train split under the test pipeline.

    Labels are loaded before any other transform there: a test pipeline loads them after resizing,
    which leaves them in the original image's frame, but a loss needs them in the input's. They are
    loaded as in training, with the masks that a loss needs as well.

    Raises:
        ConfigError: Neither can be had from the config.
    """
    if cfg.get("calib_dataloader"):
        return _each_set(
            cfg["calib_dataloader"]["dataset"],
            lambda own: (
                {**own, "pipeline": labels_first(own["pipeline"])} if "pipeline" in own else own
            ),
        )
    if not cfg.get("train_dataloader") or not cfg.get("test_dataloader"):
        raise ConfigError(
            "the config has no train_dataloader and test_dataloader to derive the calibration set "
            "from; set calib_dataloader = dict(dataset=dict(...))"
        )
    train_set = _without_repeats(cfg["train_dataloader"]["dataset"])
    test = next(inner_sets(cfg["test_dataloader"]["dataset"])).get("pipeline")
    if test is None:  # a set of what are no images
        return _each_set(train_set, lambda train: train)
    return _each_set(
        train_set, lambda train: {**train, "pipeline": labels_first(test, train.get("pipeline"))}
    )


def labels_first(pipeline: Any, train_pipeline: Any = None) -> list[Any]:
    """A copy of ``pipeline`` that loads annotations right after the image.

    They are loaded as ``train_pipeline`` does it, else as ``pipeline`` does; where neither loads
    any, boxes are; a dataset without annotations then has empty ones. A classification pipeline
    stays as it is.
    """
    steps = copy.deepcopy(list(pipeline))
    if any(_name(step).rpartition(".")[2] in _CLASS_PACKERS for step in steps):
        return steps
    labels = [copy.deepcopy(step) for step in train_pipeline or () if _loads_labels(step)]
    labels = labels or [step for step in steps if _loads_labels(step)]
    rest = [step for step in steps if not _loads_labels(step)]
    # Whatever it is called, the first transform is what brings the image.
    loaders = [0, *(i for i, step in enumerate(rest) if "Load" in _name(step))]
    place = loaders[-1] + 1
    return rest[:place] + (labels or [copy.deepcopy(_BOXES)]) + rest[place:]


def inner_sets(dataset: Any) -> Iterator[Any]:
    """The configs of the sets inside wrappers of any kind, which name files themselves."""
    if isinstance(dataset, list | tuple):
        for inner in dataset:
            yield from inner_sets(inner)
    elif "datasets" in dataset or "dataset" in dataset:
        yield from inner_sets(dataset.get("datasets") or dataset["dataset"])
    else:
        yield dataset


def _each_set(dataset: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a config in which ``change`` has been applied to every inner set."""
    if isinstance(dataset, list | tuple):
        return {"type": "ConcatDataset", "datasets": [_each_set(d, change) for d in dataset]}
    if "datasets" in dataset:
        inner = [_each_set(d, change) for d in dataset["datasets"]]
        return {**copy.deepcopy(dict(dataset)), "datasets": inner}
    if "dataset" in dataset:
        return {**copy.deepcopy(dict(dataset)), "dataset": _each_set(dataset["dataset"], change)}
    return change(copy.deepcopy(dict(dataset)))


def _without_repeats(dataset: Any) -> Any:
    """Wrappers of one set repeat, balance or mix its images; several sets stay together."""
    if isinstance(dataset, list | tuple):
        return [_without_repeats(inner) for inner in dataset]
    if "datasets" in dataset:
        return {**dataset, "datasets": [_without_repeats(inner) for inner in dataset["datasets"]]}
    if "dataset" in dataset:
        return _without_repeats(dataset["dataset"])
    return dataset


def _name(step: Any) -> str:
    """The transform's type as text; a pure-Python config holds the class."""
    kind = step["type"]
    return kind if isinstance(kind, str) else kind.__name__


def _loads_labels(step: Any) -> bool:
    """Whether a transform reads annotations: by its class, or by its name like mmdet's others."""
    kind = TRANSFORMS.get(step["type"]) if isinstance(step["type"], str) else step["type"]
    name = _name(step)
    return _is_label_loader(kind) if isinstance(kind, type) else _NAME.search(name) is not None


def _is_label_loader(kind: type) -> bool:
    return issubclass(kind, LoadAnnotations) or _NAME.search(kind.__name__) is not None


def build_dataset(cfg: dict[str, Any], key: str) -> BaseDataset:
    """Build a dataset and read its annotations.

    Raises:
        CalibrationDataError: A file is missing or unreadable, an annotation lacks something, or no
            image is left (names the key, the file and the annotation).
    """
    sets = list(inner_sets(cfg))
    for inner in sets:
        check_class_names((inner.get("metainfo") or {}).get("classes"), key)
    where = ", ".join(
        f"{name} = {inner[name]!r}"
        for inner in sets
        for name in ("data_root", "ann_file")
        if name in inner
    )
    try:
        return DATASETS.build(cfg)
    except MmptqError:
        raise
    except Exception as error:
        if _NO_IMAGES in str(error):
            raise CalibrationDataError(
                f"{key} is empty ({where}): no image passes its filter_cfg; check ann_file, "
                "metainfo.classes, and the widths and heights that the annotations state"
            ) from error
        fault = annotation_at_fault(error)
        if fault:
            raise CalibrationDataError(f"cannot read {key} ({where}): {fault}") from error
        raise CalibrationDataError(
            f"cannot read {key} ({where}): {error}; check the paths, or give --data-root"
        ) from error


def check_label_loader(dataset: BaseDataset) -> None:
    """Load boxes alone where what the training loads beside them is not there.

    Ranges need no labels at all, so masks or semantic maps that are absent are no reason to refuse;
    a recipe whose loss needs them is refused when that is tried.
    """
    for inner in inner_datasets(dataset):
        steps = getattr(getattr(inner, "pipeline", None), "transforms", [])
        loaders = [i for i, step in enumerate(steps) if _is_label_loader(type(step))]
        if not loaders or not len(inner):
            continue
        try:
            inner[0]
        except Exception as error:  # noqa: BLE001  other than of labels: told when images are read
            frames = traceback.walk_tb(error.__traceback__)
            failed = {id(frame.f_locals.get("self")) for frame, _ in frames}
            if failed.isdisjoint(id(steps[i]) for i in loaders):
                continue
            steps[loaders[0] : loaders[-1] + 1] = [TRANSFORMS.build(copy.deepcopy(_BOXES))]
            print_log(
                f"labels of the calibration images cannot be loaded as in training ({error!r}): "
                "boxes alone are loaded, and no loss of masks can be computed",
                logger="current",
                level=30,
            )


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
