"""The calibration images: chosen by seed, checked, decoded once."""

import copy
import os.path as osp
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.dist import get_rank, get_world_size

from mmptq.adapters.randomness import frozen_random
from mmptq.engine.storage.tensor_cache import TensorCache
from mmptq.errors import CalibrationDataError


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
    ) -> None:
        self.indices = choose_images(len(dataset), num_images, seed)
        self.paths = [image_path(dataset, i) for i in self.indices]
        check_files(self.paths)
        own = list(range(get_rank(), num_images, get_world_size()))
        self.num_images, self.batch_size = len(own), batch_size
        self.positions = own[::batch_size]
        self._images = TensorCache(cache_gb, folder)
        self._samples: list[Any] = []
        for position in own:
            index = self.indices[position]
            # A pipeline that distorts at random does it in the same way every time.
            with frozen_random(seed + index):
                data = load_sample(dataset, index)
            self._images.append(data["inputs"])
            self._samples.append(data["data_samples"])
            if batch_size > 1 and data["inputs"].shape != self._images[0].shape:
                raise CalibrationDataError(
                    f"{self.paths[position]} is {tuple(data['inputs'].shape)} behind the pipeline, "
                    f"the first calibration image {tuple(self._images[0].shape)}; resize or crop "
                    "to one size, or set calib_cfg.batch_size = 1"
                )

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
            f"set it to {size} or less"
        )
    return np.random.RandomState(seed).permutation(size)[:num_images].tolist()


def image_path(dataset: BaseDataset, index: int) -> str:
    """Path of an image of ``dataset``."""
    return dataset.get_data_info(index)["img_path"]


def check_files(paths: Sequence[str]) -> None:
    """Make sure that all local files exist and hold something.

    Raises:
        CalibrationDataError: Some do not (their number and the first).
    """
    # A remote path ("s3://...") is left to its file backend.
    local = [path for path in paths if "://" not in path]
    missing = [path for path in local if not osp.isfile(path)]
    if missing:
        raise CalibrationDataError(
            f"{len(missing)} of {len(paths)} images do not exist, first {missing[0]}; check "
            "data_root (--data-root) and data_prefix"
        )
    empty = [path for path in local if osp.getsize(path) == 0]
    if empty:
        raise CalibrationDataError(
            f"{len(empty)} of {len(paths)} images are empty files, first {empty[0]}; replace or "
            "remove them"
        )


def load_sample(dataset: BaseDataset, index: int) -> dict[str, Any]:
    """Decode one image and check it against its annotation.

    Raises:
        CalibrationDataError: It cannot be read, or its size is not the annotated one.
    """
    info = dataset.get_data_info(index)
    try:
        data = dataset[index]
    except Exception as error:
        raise CalibrationDataError(
            f"cannot load calibration image {info['img_path']}: {error or type(error).__name__}; "
            "replace or remove the file"
        ) from error
    annotated = (info.get("height"), info.get("width"))
    found = tuple(data["data_samples"].ori_shape[:2])
    if None not in annotated and annotated != found:
        raise CalibrationDataError(
            f"{info['img_path']} is {found[1]}x{found[0]}, its annotation says "
            f"{annotated[1]}x{annotated[0]}; the annotation file belongs to other images"
        )
    return data
