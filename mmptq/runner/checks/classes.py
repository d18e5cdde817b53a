"""What a label means: in the heads, in ``metainfo.classes``, and in the annotation files."""

import difflib
import os.path as osp
from collections.abc import Iterator, Sequence
from typing import Any

from mmcv.cnn import VGG
from mmdet.models.roi_heads.mask_heads import FusedSemanticHead
from mmdet.models.seg_heads.base_semantic_head import BaseSemanticHead
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from torch import nn

from mmptq.engine import inner_datasets
from mmptq.errors import ConfigError
from mmptq.runner.checks.categories import read_categories

# Their classes are those of pixels, or of what the backbone was pretrained on.
_OTHER_CLASSES = (FusedSemanticHead, BaseSemanticHead, VGG)


def check_class_names(classes: Any, key: str) -> None:
    """Refuse one string, over whose letters MMDetection would iterate.

    Args:
        classes: Of ``metainfo``; a file of names is none.
        key: For the message.

    Raises:
        ConfigError: It is one.
    """
    if isinstance(classes, str) and not osp.isfile(classes):
        raise ConfigError(
            f"{key}: metainfo.classes = {classes!r} is one string, and each of its letters would "
            f"be a class; write metainfo = dict(classes=({classes!r},)), with the comma"
        )


def check_classes(model: nn.Module, calibration_set: BaseDataset, test_set: BaseDataset) -> None:
    """Make sure that heads, both sets and their annotation files mean the same by a label.

    Raises:
        ConfigError: They do not; names the set, the file or head, and the fix.
    """
    meanings: list[tuple[str, tuple[str, ...]]] = []
    for key, dataset in (("the test set", test_set), ("the calibration set", calibration_set)):
        for inner in inner_datasets(dataset):
            classes = _classes(inner, key)
            if classes is None:
                continue
            where = f"{key} ({_source(inner)})"
            meanings.append((where, _label_names(inner, classes, where)))
            if not getattr(
                inner, "return_classes", False
            ):  # else the classes are part of the input
                _check_heads(model, inner.metainfo, classes, where)
    for where, names in meanings[1:]:
        _check_order(meanings[0], (where, names))


def _classes(dataset: BaseDataset, key: str) -> tuple[str, ...] | None:
    classes = dataset.metainfo.get("classes")
    check_class_names(classes, key)
    return None if classes is None else tuple(classes)


def _source(dataset: BaseDataset) -> str:
    file = getattr(dataset, "ann_file", "")
    return f"ann_file = {file!r}" if file else f"a {type(dataset).__name__}"


def _label_names(dataset: Any, classes: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The class of each label. Those of COCO files follow the file's order, not the config's."""
    ids = getattr(dataset, "cat_ids", None)
    if ids is None or not getattr(dataset, "ann_file", ""):
        return classes
    categories = read_categories(dataset.ann_file, getattr(dataset, "backend_args", None))
    if categories and len(set(ids)) < len(classes):
        _refuse_missing(classes, list(categories.values()), where)
    names = tuple(categories.get(i, "") for i in ids)
    if set(names) != set(classes):
        return classes
    if names != classes:
        label = next(i for i, (a, b) in enumerate(zip(names, classes, strict=False)) if a != b)
        print_log(
            f"{where}: metainfo.classes has another order than the file's categories, which labels "
            f"follow: label {label} is {names[label]!r}, pictures will call it {classes[label]!r}",
            logger="current",
            level=30,
        )
    return names


def _refuse_missing(classes: Sequence[str], found: list[str], where: str) -> None:
    missing = [name for name in classes if name not in found]
    if not missing:
        return
    close = difflib.get_close_matches(missing[0], found, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ConfigError(
        f"{where}: {len(missing)} of the {len(classes)} metainfo.classes are no category of the "
        f"file, first {missing[0]!r}{hint}; without them labels would be shifted. Set "
        f"metainfo = dict(classes=(...)) to names among its {len(found)} categories: "
        f"{_some(found)}"
    )


def _check_heads(
    model: nn.Module, metainfo: dict[str, Any], classes: tuple[str, ...], where: str
) -> None:
    # A panoptic set also tells how many of its classes are things, and how many are stuff.
    counts = {
        len(value)
        for key, value in metainfo.items()
        if key.endswith("classes") and isinstance(value, list | tuple)
    }
    for name, count in heads(model):
        if count not in counts:
            raise ConfigError(
                f"{where} has {len(classes)} classes ({_some(classes)}), the model's {name} has "
                f"num_classes = {count}; set metainfo.classes, or the head's num_classes, to those "
                "that the float model was trained on"
            )


def heads(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Name and ``num_classes`` of every part that tells the data set's classes apart."""
    for name, module in model.named_modules():
        count = getattr(module, "num_classes", None)
        if not isinstance(count, int) or isinstance(module, _OTHER_CLASSES):
            continue
        # Region proposals have one class.
        kinds = [name, *(cls.__name__ for cls in type(module).__mro__)]
        if "backbone" in name.split(".") or any("rpn" in kind.lower() for kind in kinds):
            continue
        yield name, count


def _check_order(first: tuple[str, tuple[str, ...]], other: tuple[str, tuple[str, ...]]) -> None:
    names, others = first[1], other[1]
    if names == others:
        return
    if sorted(names) != sorted(others):
        print_log(
            f"{first[0]} and {other[0]} have different classes: {_some(names)}, and "
            f"{_some(others)}",
            logger="current",
            level=30,
        )
        return
    label = next(i for i, (a, b) in enumerate(zip(names, others, strict=True)) if a != b)
    raise ConfigError(
        f"the classes stand in another order: label {label} is {names[label]!r} in {first[0]}, "
        f"{others[label]!r} in {other[0]}; give both the same metainfo.classes, and their files' "
        "categories the same order"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:6])) + (", ..." if len(names) > 6 else "")
