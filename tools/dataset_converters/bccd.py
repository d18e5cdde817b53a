"""Turn the published BCCD set (Pascal VOC form) into COCO form, as configs/bccd/ reads it.

From a folder with Annotations/*.xml, ImageSets/Main/{trainval,test}.txt and JPEGImages/*.jpg to
OUT/annotations/{train,val}.json, OUT/train/ and OUT/val/: trainval becomes train, test becomes val.
Boxes are clipped to the image; those then under 2 pixels wide or high are dropped, and counted.
Everything is read and checked before anything is written.

The set: https://github.com/Shenggan/BCCD_Dataset (MIT licence), folder BCCD/.
"""

import argparse
import math
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coco_form import (
    Box,
    ConversionError,
    LabelledImage,
    add_arguments,
    check_names,
    read_lines,
    report,
    summary,
    write,
)

CLASSES = ("RBC", "WBC", "Platelets")  # in the order of their category ids, which start at 1
LISTS = {"train": "trainval.txt", "val": "test.txt"}  # ours -> the published list
MIN_SIDE = 2.0  # pixels; the set has boxes of no extent
HINT = (
    "--voc must be the folder that holds Annotations/, ImageSets/ and JPEGImages/ (BCCD/ in the "
    "published repository)"
)


@dataclass(frozen=True)
class Annotation:
    """What one XML file says.

    Args:
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        boxes: ``(class, (xmin, ymin, xmax, ymax))`` in pixels, clipped to the image.
        dropped: Number of boxes left out because they are too small.
    """

    width: int
    height: int
    boxes: tuple[tuple[str, Box], ...]
    dropped: int


def read_annotation(path: Path) -> Annotation:
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
    return Annotation(int(width), int(height), kept, len(boxes) - len(kept))


def _read_object(element: ET.Element, width: float, height: float, path: Path) -> tuple[str, Box]:
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


def _is_large_enough(box: Box) -> bool:
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
    lists = {split: voc / "ImageSets" / "Main" / name for split, name in LISTS.items()}
    names = {split: read_lines(path, HINT) for split, path in lists.items()}
    check_names(names, lists)
    read = {
        split: [read_annotation(voc / "Annotations" / f"{name}.xml") for name in names[split]]
        for split in LISTS
    }
    images = {
        split: [
            LabelledImage(find_image(name, folders), found.width, found.height, found.boxes)
            for name, found in zip(names[split], read[split], strict=True)
        ]
        for split in LISTS
    }
    write(out, images, CLASSES, symlink)
    return {
        split: f"{summary(images[split], CLASSES)}; {sum(found.dropped for found in read[split])} "
        f"boxes under {MIN_SIDE:g} px dropped"
        for split in LISTS
    }


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
        "--images",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders to look for the images in (default: JPEGImages/ of --voc)",
    )
    add_arguments(parser, "bccd")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert, and say what came out."""
    args = parse_args(argv)
    folders = args.images or [args.voc / "JPEGImages"]
    return report(args.out, lambda: convert(args.voc, args.out, folders, args.symlink))


if __name__ == "__main__":
    sys.exit(main())
