"""What every converter ends with: labelled images become a detection set in COCO form."""

import argparse
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Box = tuple[float, float, float, float]
SPLITS = ("train", "val")


class ConversionError(Exception):
    """The input is not as expected; the message names the file."""


@dataclass(frozen=True)
class LabelledImage:
    """One image and its boxes.

    Args:
        file: The image.
        width: Pixels.
        height: Pixels.
        boxes: ``(class, (xmin, ymin, xmax, ymax))``, corners in pixels from 0.
    """

    file: Path
    width: int
    height: int
    boxes: tuple[tuple[str, Box], ...]


def read_lines(path: Path, hint: str) -> list[str]:
    """Lines of a published list, in its order, without empty ones.

    Args:
        path: Of the list.
        hint: What to do where it is missing.

    Raises:
        ConversionError: The list is missing or empty.
    """
    if not path.is_file():
        raise ConversionError(f"{path} is missing: {hint}")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise ConversionError(f"{path} names no image")
    return lines


def check_names(names: Mapping[str, Sequence[str]], lists: Mapping[str, Path]) -> None:
    """Each image stands once in one list.

    Args:
        names: Of the images of ``train`` and of ``val``.
        lists: Where they stand.

    Raises:
        ConversionError: One stands there twice, or in both.
    """
    for split in SPLITS:
        twice = [name for name, count in Counter(names[split]).items() if count > 1]
        if twice:
            raise ConversionError(f"{lists[split]} names {twice[0]} more than once")
    shared = set(names["train"]) & set(names["val"])
    if shared:
        both = " and in ".join(lists[split].name for split in SPLITS)
        raise ConversionError(f"{min(shared)} is both in {both}")


def to_coco(images: Sequence[LabelledImage], classes: Sequence[str]) -> dict[str, Any]:
    """The images and their boxes as a COCO dictionary; all ids start at 1, in the given order."""
    categories = [{"id": i, "name": name} for i, name in enumerate(classes, start=1)]
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        for name, (x0, y0, x1, y1) in image.boxes:
            width, height = x1 - x0, y1 - y0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": classes.index(name) + 1,
                    "bbox": [x0, y0, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    listed = [
        {"id": i, "file_name": image.file.name, "width": image.width, "height": image.height}
        for i, image in enumerate(images, start=1)
    ]
    return {"images": listed, "annotations": annotations, "categories": categories}


def place(source: Path, target: Path, symlink: bool) -> None:
    """Copy ``source`` to ``target``, or link it."""
    if source.parent.resolve() == target.parent.resolve():
        return  # the images lie in OUT already: replacing one by itself would delete it
    target.unlink(missing_ok=True)
    if symlink:
        os.symlink(source.resolve(), target)
    else:
        shutil.copyfile(source, target)


def write(
    out: Path, splits: Mapping[str, Sequence[LabelledImage]], classes: Sequence[str], symlink: bool
) -> None:
    """Write OUT/train/, OUT/val/ and OUT/annotations/{train,val}.json.

    Args:
        out: Made if missing.
        splits: Images of ``train`` and of ``val``.
        classes: In the order of their category ids.
        symlink: Link the images in place of copying them.

    Raises:
        OSError: ``out`` cannot be written.
    """
    (out / "annotations").mkdir(parents=True, exist_ok=True)
    for split, images in splits.items():
        (out / split).mkdir(exist_ok=True)
        for image in images:
            place(image.file, out / split / image.file.name, symlink)
    # Last, so that a set with annotations is a whole one.
    for split, images in splits.items():
        text = json.dumps(to_coco(images, classes))
        (out / "annotations" / f"{split}.json").write_text(text, encoding="utf-8")


def summary(images: Sequence[LabelledImage], classes: Sequence[str]) -> str:
    """Number of images, and of boxes of each class."""
    counts = Counter(name for image in images for name, _ in image.boxes)
    per_class = ", ".join(f"{counts[name]} {name}" for name in classes)
    return f"{len(images)} images, {per_class}"


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """``--out`` and ``--symlink``; ``name`` is that of the set's folders."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data") / name,
        metavar="DIR",
        help=f"where the COCO form goes (default: data/{name}, which configs/{name}/ reads)",
    )
    parser.add_argument("--symlink", action="store_true", help="link the images, do not copy them")


def report(out: Path, convert: Callable[[], Mapping[str, str]]) -> int:
    """Convert, say what came out, and give the exit status.

    Args:
        out: The set's folder.
        convert: Gives a line of summary for each split.
    """
    try:
        summaries = convert()
    except (ConversionError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for split, line in summaries.items():
        print(f"{out / split}: {line}")
    return 0
