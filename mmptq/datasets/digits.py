"""The demo detection set: scikit-learn's bundled handwritten digits, in COCO format.

The set is made, not downloaded: 1797 real 8x8 digits (Alpaydin and Kaynak, UCI Optical Recognition
of Handwritten Digits) are drawn on cluttered canvases. No source digit is in both splits.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmdet.datasets import CocoDataset
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmptq.datasets.digits_rendering import IMAGE_SIZE, Scene, render_scene
from mmptq.registry import DATASETS

CLASSES = tuple("0123456789")
NUM_IMAGES = {"train": 800, "val": 120}
VAL_SOURCES = 0.2  # the part of the source digits that only the validation images use
VERSION = "1"  # raise it when a change of the drawing makes older sets and figures incomparable
_STAMP = "digits.json"


class DigitSources(NamedTuple):
    """Source digits of one split: ``glyphs`` (M, 8, 8) in [0, 1] and ``labels`` (M,) 0..9."""

    glyphs: NDArray[np.float64]
    labels: NDArray[np.int64]


def load_sources(split: str) -> DigitSources:
    """The real digits that ``split`` draws from; the two splits share none.

    Args:
        split: ``'train'`` or ``'val'``.

    Raises:
        ImportError: scikit-learn, which carries the digits, is not installed.
        ValueError: There is no such split.
    """
    if split not in NUM_IMAGES:
        raise ValueError(f"split must be one of {tuple(NUM_IMAGES)}, got {split!r}")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the demo set is made from scikit-learn's bundled digits, and scikit-learn is not "
            "installed; run: pip install mmptq[demo]"
        ) from error
    bunch = load_digits()
    labels = np.asarray(bunch.target, dtype=np.int64)
    # The partition does not depend on the seed: a detector trained on one set never meets its
    # training digits in the validation images of another.
    shuffled = np.random.RandomState(0).permutation(len(labels))
    held_out = shuffled[: int(len(labels) * VAL_SOURCES)]
    chosen = held_out if split == "val" else np.setdiff1d(shuffled, held_out)
    return DigitSources(np.asarray(bunch.images, dtype=np.float64)[chosen] / 16.0, labels[chosen])


def render_digits(split: str, index: int, sources: DigitSources, seed: int = 0) -> Scene:
    """Draw image ``index`` of ``split``; it depends on nothing but the arguments."""
    rng = np.random.RandomState([seed, tuple(NUM_IMAGES).index(split), index])
    return render_scene(rng, sources.glyphs, sources.labels)


def make_digits(
    root: str | os.PathLike[str],
    seed: int = 0,
    num_images: dict[str, int] | None = None,
    force: bool = False,
) -> Path:
    """Make the set under ``root`` unless it is there already.

    It is written to a folder beside ``root`` and renamed, so that ``root`` never holds half a set,
    and two processes may start at the same time: one of them wins, the other discards its copy.

    Args:
        root: Folder to make; its parents are made too.
        seed: Another seed draws another set.
        num_images: Images per split; default :data:`NUM_IMAGES`.
        force: Replace a set that is already there.

    Returns:
        ``root``.

    Raises:
        FileExistsError: ``root`` holds something that is not this set, or a set made with other
            settings (and ``force`` is off).
    """
    counts = dict(num_images or NUM_IMAGES)
    stamp = {"version": VERSION, "seed": seed, "num_images": counts}

    def write(folder: Path) -> None:
        for split, count in counts.items():
            _write_split(folder, split, count, seed)

    return make_once(Path(root), stamp, write, force)


def make_once(
    root: Path, stamp: dict[str, Any], write: Callable[[Path], None], force: bool = False
) -> Path:
    """Make a set under ``root`` by ``write``, unless it is there already; whole or not at all.

    Args:
        root: Folder to make; its parents are made too.
        stamp: What was asked for, kept in the folder: a set with another stamp is another set.
        write: Fills an empty folder.
        force: Replace a set that is already there.

    Returns:
        ``root``.

    Raises:
        FileExistsError: ``root`` holds something else (and, for a set, ``force`` is off).
    """
    if not force and _is_made(root, stamp):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    # Resolved, because Path('data/demo/..') and friends have misleading names.
    target = root.resolve()
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp's 0700 would lock other users out of the finished set
        write(temporary)
        (temporary / _STAMP).write_text(json.dumps(stamp, indent=2) + "\n")
        if force and _read_stamp(root) is not None:
            shutil.rmtree(target)
        try:
            temporary.rename(target)
        except OSError:
            if not _is_made(root, stamp):  # raises what is wrong with the folder in our way
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root


def _read_stamp(root: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((root / _STAMP).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_made(root: Path, stamp: dict[str, Any]) -> bool:
    """Whether ``root`` holds the set that ``stamp`` describes; raises if it holds anything else."""
    found = _read_stamp(root)
    if found == stamp:
        return True
    if found is not None:
        raise FileExistsError(
            f"{root} holds a digits set made with {found}, wanted {stamp}; "
            "remake it with: python tools/make_demo_data.py --force"
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f"{root} exists and is not the digits set (it has no {_STAMP}); "
            "move it away, or give another folder as data_root"
        )
    return False


def _write_split(root: Path, split: str, count: int, seed: int) -> None:
    sources = load_sources(split)
    (root / split).mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        scene = render_digits(split, index, sources, seed)
        name = f"{index:06d}.png"
        if not cv2.imwrite(str(root / split / name), np.ascontiguousarray(scene.image[..., ::-1])):
            raise OSError(f"cannot write {root / split / name}; is the disk full?")
        height, width = scene.image.shape[:2]
        images.append({"id": index + 1, "file_name": name, "height": height, "width": width})
        for box, label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": label + 1,
                    "bbox": box,
                    # Of the box, not of the ink: detections are sorted into small, medium and
                    # large by their box too.
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    path = root / "annotations" / f"{split}.json"
    path.parent.mkdir(exist_ok=True)
    info = {"description": "handwritten digits, drawn by mmptq", "version": VERSION, "seed": seed}
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    path.write_text(
        json.dumps(
            {
                "info": info,
                "images": images,
                "annotations": annotations,
                "categories": categories,
            }
        )
    )


@DATASETS.register_module()
class DigitsDetection(CocoDataset):
    """The demo set as an MMDetection dataset; made under ``data_root`` on first use.

    Args:
        ann_file: ``annotations/train.json`` or ``annotations/val.json`` under ``data_root``.
        seed: Which set to make where there is none; see :func:`make_digits`.
        args, kwargs: As for MMDetection's ``CocoDataset``.

    Raises:
        FileExistsError: ``data_root`` holds something else.
        ImportError: The set must be made and scikit-learn is missing.
    """

    METAINFO = {
        "classes": CLASSES,
        "palette": [
            (31, 119, 180),
            (255, 127, 14),
            (44, 160, 44),
            (214, 39, 40),
            (148, 103, 189),
            (140, 86, 75),
            (227, 119, 194),
            (127, 127, 127),
            (188, 189, 34),
            (23, 190, 207),
        ],
    }

    def __init__(self, *args: Any, seed: int = 0, **kwargs: Any) -> None:
        self.seed = seed
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the annotations, after making the set where ``data_root`` has none."""
        root = Path(self.data_root)
        # An annotation file from elsewhere, or a set of another size, is the user's choice.
        if not Path(self.ann_file).exists() and Path(self.ann_file).is_relative_to(root):
            print_log(f"making the digits set under {root} (seed {self.seed})", logger="current")
            make_digits(root, seed=self.seed)
        return list(super().load_data_list())


__all__ = [
    "CLASSES",
    "IMAGE_SIZE",
    "NUM_IMAGES",
    "DigitSources",
    "DigitsDetection",
    "load_sources",
    "make_digits",
    "make_once",
    "render_digits",
]
