"""Turn the published DeepPCB set into COCO form, as configs/deeppcb/ reads it.

From a folder with trainval.txt, test.txt and groupXXXXX/ to OUT/annotations/{train,val}.json,
OUT/train/ and OUT/val/: trainval becomes train, test becomes val. A line of a list,

  group20085/20085/20085000.jpg group20085/20085_not/20085000.txt

names the image 20085000_test.jpg and its boxes, one a line: x1 y1 x2 y2 type. The templates
(20085000_temp.jpg: the same board without defects) are left out: a detector sees one image.
Everything is read and checked before anything is written.

The set: https://github.com/tangsanli5201/DeepPCB, folder PCBData/ (MIT licence; its README asks for
research use).
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
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

# In the order of their category ids, which are the published types: 1 to 6.
CLASSES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
LISTS = {"train": "trainval.txt", "val": "test.txt"}  # ours -> the published list
HINT = (
    "--pcbdata must be the folder that holds trainval.txt, test.txt and group*/ (PCBData/ in the "
    "published repository)"
)


def read_list(path: Path) -> list[tuple[str, str]]:
    """The files that a published list names: of each image, and of its boxes.

    Raises:
        ConversionError: The list is missing or empty, or a line is no such pair.
    """
    pairs = []
    for line in read_lines(path, HINT):
        parts = line.split()
        if [Path(part).suffix for part in parts] != [".jpg", ".txt"]:
            raise ConversionError(f"{path}: {line!r} is not <image>.jpg <boxes>.txt")
        image, boxes = parts
        pairs.append((f"{image.removesuffix('.jpg')}_test.jpg", boxes))
    return pairs


def read_image(file: Path, boxes: Path) -> LabelledImage:
    """Read an image and its boxes.

    Raises:
        ConversionError: A file is missing or not as expected.
    """
    width, height = image_size(file)
    return LabelledImage(file, width, height, read_boxes(boxes, width, height))


def image_size(file: Path) -> tuple[int, int]:
    """Width and height in pixels.

    Raises:
        ConversionError: The image is missing, or cannot be decoded.
    """
    if not file.is_file():
        raise ConversionError(f"{file} is missing, yet a list names it")
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ConversionError(f"{file} cannot be decoded as an image")
    return image.shape[1], image.shape[0]


def read_boxes(path: Path, width: int, height: int) -> tuple[tuple[str, Box], ...]:
    """Class and corners of each defect; ``width`` and ``height`` are the image's.

    Raises:
        ConversionError: The file is missing, or a line is not a box inside the image.
    """
    if not path.is_file():
        raise ConversionError(f"{path} is missing, yet a list names it")
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(
        _read_box(line, width, height, f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _read_box(line: str, width: int, height: int, where: str) -> tuple[str, Box]:
    # The set's README writes commas, its files have spaces.
    fields = re.split(r"[,\s]+", line.strip())
    try:
        x0, y0, x1, y1, kind = map(int, fields)
    except ValueError:
        raise ConversionError(f"{where}: {line!r} is not x1 y1 x2 y2 type, in integers") from None
    if not 1 <= kind <= len(CLASSES):
        raise ConversionError(f"{where}: unknown type {kind}; known are 1 to {len(CLASSES)}")
    # No published box does this, so a file that has one is not the published one.
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ConversionError(f"{where}: {line!r} is no box inside the image, {width}x{height}")
    return CLASSES[kind - 1], (x0, y0, x1, y1)


def convert(root: Path, out: Path, symlink: bool) -> dict[str, str]:
    """Convert the whole set.

    Args:
        root: Published folder.
        out: Where the COCO form goes; made if missing.
        symlink: Link the images in place of copying them.

    Returns:
        One line of summary for each split.

    Raises:
        ConversionError: The input is not as expected. Nothing has been written then.
        OSError: ``out`` cannot be written.
    """
    lists = {split: root / name for split, name in LISTS.items()}
    pairs = {split: read_list(path) for split, path in lists.items()}
    # The groups' folders do not matter: all images of a split go into one.
    check_names({split: [Path(image).name for image, _ in pairs[split]] for split in LISTS}, lists)
    images = {
        split: [read_image(root / image, root / boxes) for image, boxes in pairs[split]]
        for split in LISTS
    }
    write(out, images, CLASSES, symlink)
    return {split: summary(images[split], CLASSES) for split in LISTS}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pcbdata",
        type=Path,
        required=True,
        metavar="DIR",
        help="published folder with trainval.txt, test.txt and group*/",
    )
    add_arguments(parser, "deeppcb")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert, and say what came out."""
    args = parse_args(argv)
    return report(args.out, lambda: convert(args.pcbdata, args.out, args.symlink))


if __name__ == "__main__":
    sys.exit(main())
