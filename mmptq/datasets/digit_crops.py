"""The demo classification set: one handwritten digit on each small coloured image.

The same source digits as in the detection set, and the same split of them.
"""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmptq.datasets.digits import DigitSources, load_sources, make_once
from mmptq.datasets.digits_rendering import (
    blend,
    contrasting_color,
    draw_background,
    luminance,
    upsample_glyph,
    warp_glyph,
)
from mmptq.datasets.image_folder import ImageFolder
from mmptq.registry import DATASETS, TRANSFORMS

CROP_SIZE = 28
NUM_CROPS = {"train": 8000, "val": 2000}
VERSION = (
    "crops 1"  # raise it when a change of the drawing makes older sets and figures incomparable
)
_HEIGHTS = (14.0, 26.0)  # of the eight source rows, in pixels
_MAX_ROTATION = 20.0  # degrees


def render_crop(
    split: str, index: int, sources: DigitSources, seed: int = 0
) -> tuple[NDArray[np.uint8], int]:
    """Draw image ``index`` of ``split``; it depends on nothing but the arguments.

    Returns:
        RGB uint8 ``(28, 28, 3)`` and the digit.
    """
    rng = np.random.RandomState([seed, tuple(NUM_CROPS).index(split), index])
    gray = bool(rng.uniform() < 0.3)
    canvas = draw_background(rng, gray, CROP_SIZE)
    source = rng.randint(len(sources.glyphs))
    height, angle = rng.uniform(*_HEIGHTS), rng.uniform(-_MAX_ROTATION, _MAX_ROTATION)
    mask = warp_glyph(upsample_glyph(sources.glyphs[source]), float(np.round(height, 6)), angle)
    # A rotated digit may be a little larger than the canvas; what is outside is cut off.
    x, y = (
        rng.randint(min(free, 0), max(free, 0) + 1)
        for free in CROP_SIZE - np.array(mask.shape[::-1])
    )
    against = float(luminance(canvas).mean())
    blend(canvas, mask, contrasting_color(rng, gray, against), int(x), int(y))
    grain = rng.uniform(-1, 1, size=canvas.shape) * rng.uniform(2, 30)
    image = np.clip(np.round(canvas + grain), 0, 255).astype(np.uint8)
    return image, int(sources.labels[source])


def make_digit_crops(
    root: str | os.PathLike[str],
    seed: int = 0,
    num_images: dict[str, int] | None = None,
    force: bool = False,
) -> Path:
    """Make ``<root>/<split>/<digit>/<index>.png`` unless it is there already.

    Args:
        root: Folder to make; its parents are made too.
        seed: Another seed draws another set.
        num_images: Images per split; default :data:`NUM_CROPS`.
        force: Replace a set that is already there.

    Raises:
        FileExistsError: ``root`` holds something else (and, for a set, ``force`` is off).
    """
    counts = dict(num_images or NUM_CROPS)
    stamp = {"version": VERSION, "seed": seed, "num_images": counts}

    def write(folder: Path) -> None:
        for split, count in counts.items():
            _write_split(folder / split, split, count, seed)

    return make_once(Path(root), stamp, write, force)


def _write_split(folder: Path, split: str, count: int, seed: int) -> None:
    sources = load_sources(split)
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
    for index in range(count):
        image, digit = render_crop(split, index, sources, seed)
        path = folder / str(digit) / f"{index:06d}.png"
        if not cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1])):
            raise OSError(f"cannot write {path}; is the disk full?")


@TRANSFORMS.register_module()
class ShiftAndRecolour(BaseTransform):
    """Training images of which there are never too many: moved, colours swapped or inverted.

    Args:
        shift: The most by which an image is moved along each axis, in pixels; its border is
            continued by its mirror image.
    """

    def __init__(self, shift: int = 3) -> None:
        self.shift = shift

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img``."""
        image, most = results["img"], self.shift
        height, width = image.shape[:2]
        y, x = np.random.randint(0, 2 * most + 1, size=2)
        padded = np.pad(image, ((most, most), (most, most), (0, 0)), mode="reflect")
        image = padded[y : y + height, x : x + width][..., np.random.permutation(3)]
        results["img"] = 255 - image if np.random.rand() < 0.5 else image
        return results


@DATASETS.register_module()
class DigitCrops(ImageFolder):
    """The demo classification set; made under ``data_root`` on first use.

    Args:
        args, kwargs: As for :class:`ImageFolder`.
        seed: Which set to make where there is none; see :func:`make_digit_crops`.

    Raises:
        FileExistsError: ``data_root`` holds something else.
        ImportError: The set must be made and scikit-learn is missing.
    """

    def __init__(self, *args: Any, seed: int = 0, **kwargs: Any) -> None:
        self.seed = seed
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """As of a folder, after making the set where there is none."""
        if not Path(self.data_prefix["img"]).exists():
            print_log(f"making the digits under {self.data_root}", logger="current")
            make_digit_crops(self.data_root, seed=self.seed)
        return super().load_data_list()
