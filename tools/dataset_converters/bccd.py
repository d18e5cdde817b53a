"""Turn the published BCCD set (Pascal VOC form) into COCO form, as configs/bccd/ reads it.

From a folder with Annotations/*.xml, ImageSets/Main/{trainval,test}.txt and JPEGImages/*.jpg to
OUT/annotations/{train,val}.json, OUT/train/ and OUT/val/: trainval becomes train, test becomes val.
Boxes are clipped to the image; those then under 2 pixels wide or high are dropped, and counted.
Everything is read and checked before anything is written.

The set: https://github.com/Shenggan/BCCD_Dataset (MIT licence), folder BCCD/.
"""

import argparse
import json
import math
import os
import shutil
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLASSES = ("RBC", "WBC", "Platelets")  # in the order of their category ids, which start at 1
SPLITS = {"train": "trainval", "val": "test"}  # ours -> the published list
MIN_SIDE = 2.0  # pixels; the set has boxes of no extent


class ConversionError(Exception):
    """The input is not as expected; the message names the file."""


@dataclass(frozen=True)
class VocImage:
    """One image and its boxes, as its XML file says.

    Args:
        name: File name without extension.
        width: Pixels.
        height: Pixels.
        boxes: ``(class, (xmin, ymin, xmax, ymax))`` in pixels, clipped to the image.
        dropped: Number of boxes left out because they are too small.
    """

    name: str
    width: int
    height: int
    boxes: tuple[tuple[str, tuple[float, float, float, float]], ...]
    dropped: int


def read_split(voc: Path, published: str) -> list[str]:
    """Image names of a published list, in its order.

    Raises:
        ConversionError: The list is missing, empty, or names an image twice.
    """
    path = voc / "ImageSets" / "Main" / f"{published}.txt"
    if not path.is_file():
        raise ConversionError(
            f"{path} is missing: --voc must be the folder that holds Annotations/, ImageSets/ and "
            "JPEGImages/ (BCCD/ in the published repository)"
        )
    names = path.read_text(encoding="utf-8").split()
    if not names:
        raise ConversionError(f"{path} names no image")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConversionError(f"{path} names {twice[0]} more than once")
    return names


def read_annotation(path: Path) -> VocImage:
    """Read one VOC annotation file.

    Raises:
        ConversionError: It is missing, not well-formed, incomplete, or has an unknown class.
    """
    try:
        root = ET.parse(path).getroot()
    except FileNotFoundError:
        raise ConversionError(f"{path} is missing, yet a list names its image") from None
    except ET.ParseError as error:
        raise ConversionError(f"{path} is not well-formed XML: {error}") from error
    width, height = (_number(root, f"size/{key}", path) for key in ("width", "height"))
    if width < 1 or height < 1:
        raise ConversionError(f"{path}: size {width:g} x {height:g} is not that of an image")
    boxes = [_read_object(element, width, height, path) for element in root.iter("object")]
    kept = tuple((name, box) for name, box in boxes if _is_large_enough(box))
    return VocImage(path.stem, int(width), int(height), kept, len(boxes) - len(kept))


def _read_object(
    element: ET.Element, width: float, height: float, path: Path
) -> tuple[str, tuple[float, float, float, float]]:
    name = (element.findtext("name") or "").strip()
    if name not in CLASSES:
        raise ConversionError(f"{path}: unknown class {name!r}; known are {', '.join(CLASSES)}")
    # The published corners reach from 0 to the image's size, so nothing is to be subtracted, unlike
    # in Pascal VOC proper, which counts pixels from 1.
    x0, y0, x1, y1 = (
        min(max(_number(element, f"bndbox/{key}", path), 0.0), limit)
        for key, limit in (("xmin", width), ("ymin", height), ("xmax", width), ("ymax", height))
    )
    return name, (x0, y0, x1, y1)


def _number(element: ET.Element, tag: str, path: Path) -> float:
    text = element.findtext(tag)
    if text is None:
        raise ConversionError(f"{path}: <{element.tag}> lacks <{tag}>")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConversionError(f"{path}: <{tag}> is {text!r}, not a number")
    return value


def _is_large_enough(box: tuple[float, float, float, float]) -> bool:
    return box[2] - box[0] >= MIN_SIDE and box[3] - box[1] >= MIN_SIDE


def find_image(name: str, folders: Sequence[Path]) -> Path:
    """The image called ``name`` in the first of ``folders`` that has it.

    Raises:
        ConversionError: None has.
    """
    for folder in folders:
        path = folder / f"{name}.jpg"
        if path.is_file():
            return path
    raise ConversionError(
        f"{name}.jpg is in none of {', '.join(map(str, folders))}; give the folder with --images"
    )


def to_coco(images: Sequence[VocImage]) -> dict[str, Any]:
    """The images and their boxes as a COCO dictionary; all ids start at 1."""
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        for name, (x0, y0, x1, y1) in image.boxes:
            width, height = x1 - x0, y1 - y0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CLASSES.index(name) + 1,
                    "bbox": [x0, y0, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    listed = [
        {"id": i, "file_name": f"{image.name}.jpg", "width": image.width, "height": image.height}
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


def convert(voc: Path, out: Path, folders: Sequence[Path], symlink: bool) -> dict[str, str]:
    """Convert the whole set.

    Args:
        voc: Published folder.
        out: Where the COCO form goes; made if missing.
        folders: Where to look for the images.
        symlink: Link the images in place of copying them.

    Returns:
        One line of summary for each split.

    Raises:
        ConversionError: The input is not as expected. Nothing has been written then.
        OSError: ``out`` cannot be written.
    """
    names = {split: read_split(voc, published) for split, published in SPLITS.items()}
    shared = set(names["train"]) & set(names["val"])
    if shared:
        raise ConversionError(f"{min(shared)} is both in trainval.txt and in test.txt")
    images = {
        split: [read_annotation(voc / "Annotations" / f"{name}.xml") for name in names[split]]
        for split in SPLITS
    }
    files = {split: [find_image(name, folders) for name in names[split]] for split in SPLITS}
    (out / "annotations").mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        (out / split).mkdir(exist_ok=True)
        for file in files[split]:
            place(file, out / split / file.name, symlink)
    # Last, so that a set with annotations is a whole one.
    for split in SPLITS:
        text = json.dumps(to_coco(images[split]))
        (out / "annotations" / f"{split}.json").write_text(text, encoding="utf-8")
    return {split: _summary(images[split]) for split in SPLITS}


def _summary(images: Sequence[VocImage]) -> str:
    counts = Counter(name for image in images for name, _ in image.boxes)
    per_class = ", ".join(f"{counts[name]} {name}" for name in CLASSES)
    dropped = sum(image.dropped for image in images)
    return f"{len(images)} images, {per_class}; {dropped} boxes under {MIN_SIDE:g} px dropped"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--voc",
        type=Path,
        required=True,
        metavar="DIR",
        help="published folder with Annotations/, ImageSets/ and JPEGImages/",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data/bccd"),
        metavar="DIR",
        help="where the COCO form goes (default: data/bccd, which configs/bccd/ reads)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders to look for the images in (default: JPEGImages/ of --voc)",
    )
    parser.add_argument("--symlink", action="store_true", help="link the images, do not copy them")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert, and say what came out."""
    args = parse_args(argv)
    folders = args.images or [args.voc / "JPEGImages"]
    try:
        summaries = convert(args.voc, args.out, folders, args.symlink)
    except (ConversionError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for split, summary in summaries.items():
        print(f"{args.out / split}: {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
