"""The calibration images: chosen by seed, checked, decoded once."""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log

from mmptq.adapters.randomness import frozen_random
from mmptq.engine.data.images import check_files, image_path, plain_files
from mmptq.engine.storage.tensor_cache import TensorCache
from mmptq.errors import CalibrationDataError

# Pixels by which an annotated width or height may be off.
_SIZE_TOLERANCE = 2


class CalibrationSet:
    """Calibration images of this process, decoded and kept within a memory budget.

    Under a launcher, process ``r`` of ``n`` holds the images at positions ``r, r + n, ...`` of the
    common selection. They are handed out in batches, each of which is known by the position of its
    first image.

    Args:
        dataset: The train split under the test pipeline.
        num_images: How many images to take.
        seed: Decides which (and in what order), independent of the number of processes.
        cache_gb: Memory budget for decoded images, the rest spills to ``folder``.
        folder: For spilled images.
        batch_size: Images in a batch; the last one may be smaller.
        skip: How many images of the same order are left out before the first: another set has them.

    Raises:
        CalibrationDataError: The set is empty or too small, an image is missing or unreadable, or
            does not have the size that its annotation says; or images of different sizes would
            stand in one batch.
    """

    def __init__(
        self,
        dataset: BaseDataset,
        num_images: int,
        seed: int,
        cache_gb: float,
        folder: str | Path,
        batch_size: int = 1,
        skip: int = 0,
    ) -> None:
        self.indices = choose_images(len(dataset), skip + num_images, seed)[skip:]
        self.paths = [image_path(dataset, i) for i in self.indices]
        check_files(plain_files(dataset, self.indices))
        own = list(range(get_rank(), num_images, get_world_size()))
        self.num_images, self.batch_size = len(own), batch_size
        self.positions = own[::batch_size]
        self._images = TensorCache(cache_gb, folder)
        self._samples: list[Any] = []
        dropped: dict[str, int] = {}
        unsized: list[str] = []
        for position in own:
            index = self.indices[position]
            # A pipeline that distorts at random does it in the same way every time.
            with frozen_random(seed + index):
                data = load_sample(dataset, index)
            if objects := drop_empty_boxes(data["data_samples"]):
                dropped[self.paths[position]] = objects
            if 0 in _annotated_size(dataset, index):
                unsized.append(self.paths[position])
            self._images.append(data["inputs"])
            self._samples.append(data["data_samples"])
            if batch_size > 1 and data["inputs"].shape != self._images[0].shape:
                raise CalibrationDataError(
                    f"{self.paths[position]} is {tuple(data['inputs'].shape)} behind the pipeline, "
                    f"the first calibration image {tuple(self._images[0].shape)}; resize or crop "
                    "to one size, or set calib_cfg.batch_size = 1"
                )
        _warn_about(dropped, unsized)

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.positions)

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """``(position in the common selection, collated batch)``."""
        for i, position in enumerate(self.positions):
            start = i * self.batch_size
            batch = range(start, min(start + self.batch_size, self.num_images))
            # Copies, since a data preprocessor writes into them; `clone` would share the labels.
            yield (
                position,
                pseudo_collate(
                    [
                        {"inputs": self._images[k], "data_samples": copy.deepcopy(self._samples[k])}
                        for k in batch
                    ]
                ),
            )


def choose_images(size: int, num_images: int, seed: int) -> list[int]:
    """``num_images`` different indices below ``size``.

    Raises:
        CalibrationDataError: There are too few.
    """
    if size == 0:
        raise CalibrationDataError(
            "the calibration set is empty: no image of calib_dataloader.dataset (by default the "
            "train split) passes its filter_cfg; check ann_file and metainfo.classes"
        )
    if num_images > size:
        raise CalibrationDataError(
            f"calib_cfg.num_images = {num_images}, but the calibration set has {size} images; "
            f"set it to {size} or less: --cfg-options calib_cfg.num_images={size}"
        )
    return np.random.RandomState(seed).permutation(size)[:num_images].tolist()


def load_sample(dataset: BaseDataset, index: int) -> dict[str, Any]:
    """Decode one image and check it against its annotation.

    Raises:
        CalibrationDataError: It cannot be read or is not packed, or its size is not the annotated one.
    """
    path = image_path(dataset, index)
    try:
        data = dataset[index]
    except Exception as error:
        missing = isinstance(error, OSError)
        fix = "check data_prefix and the pipeline" if missing else "replace or remove the file"
        raise CalibrationDataError(
            f"cannot load calibration image {path}: {error or type(error).__name__}; {fix}"
        ) from error
    if not {"inputs", "data_samples"} <= set(data):
        raise CalibrationDataError(
            f"the pipeline makes no 'inputs' and 'data_samples' of calibration image {path}; let "
            "that of calib_dataloader.dataset (by default of test_dataloader.dataset) begin with a "
            "loader of images and end with PackDetInputs"
        )
    annotated = _annotated_size(dataset, index)
    found = tuple(data["data_samples"].get("ori_shape", ())[:2])
    # Some tools round in another way, or leave 0 for what they do not know.
    if found and annotated and all(annotated):
        if max(abs(a - b) for a, b in zip(annotated, found, strict=True)) > _SIZE_TOLERANCE:
            raise CalibrationDataError(
                f"{path} is {found[1]}x{found[0]}, its annotation says "
                f"{annotated[1]}x{annotated[0]}; the annotation file belongs to other images"
            )
    return data


def drop_empty_boxes(sample: Any) -> int:
    """Take objects away whose box has no area or is not finite: a loss would be infinite.

    Returns:
        How many there were.
    """
    objects = sample.get("gt_instances")
    boxes = None if objects is None else objects.get("bboxes")
    corners = getattr(boxes, "tensor", boxes)
    if corners is None or corners.shape[-1] != 4:
        return 0
    keep = corners.isfinite().all(1) & (corners[:, 2:] > corners[:, :2]).all(1)
    if not bool(keep.all()):
        sample.gt_instances = objects[keep]
    return int((~keep).sum())


def _annotated_size(dataset: BaseDataset, index: int) -> tuple[int, ...]:
    """``(height, width)``, or nothing where the annotation tells none."""
    info = dataset.get_data_info(index)
    size = (info.get("height"), info.get("width"))
    return () if None in size else size


def _warn_about(dropped: dict[str, int], unsized: list[str]) -> None:
    if dropped:
        print_log(
            f"{sum(dropped.values())} objects of the calibration images have a box without area or "
            f"with NaN, first in {next(iter(dropped))}; they are left out",
            logger="current",
            level=logging.WARNING,
        )
    if unsized:
        print_log(
            f"the annotations give {len(unsized)} calibration images a width or height of 0, first "
            f"{unsized[0]}; MMDetection may drop their objects",
            logger="current",
            level=logging.WARNING,
        )
