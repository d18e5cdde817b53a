"""The images of a data set: where they are, and how its own pipeline reads them."""

import os.path as osp
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset
from mmengine.fileio import LocalBackend, get_file_backend
from numpy.typing import NDArray

from mmptq.errors import CalibrationDataError


def concatenated_datasets(dataset: Any) -> list[Any]:
    """The sets that stand in a row, each of which an evaluator may measure on its own."""
    return list(getattr(dataset, "datasets", [dataset]))


def inner_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers of any kind, which have annotations and a pipeline."""
    inner = getattr(dataset, "datasets", None) or getattr(dataset, "dataset", None)
    if inner is None:
        yield dataset
        return
    for part in inner if isinstance(inner, list | tuple) else [inner]:
        yield from inner_datasets(part)


def image_path(dataset: BaseDataset, index: int) -> str:
    """Path of an image of ``dataset``, of the first file of an image that has several."""
    return _paths(dataset, index)[0]


def _paths(dataset: BaseDataset, index: int) -> list[str]:
    path = dataset.get_data_info(index).get("img_path") or f"image {index}"
    return [path] if isinstance(path, str) else list(path)


def plain_files(dataset: BaseDataset, indices: Iterable[int]) -> list[str]:
    """Files of those images that are read as plain local files.

    Others (in an archive or a data base, behind a network, mapped to other paths) are known to the
    pipeline's own loader alone: whether they exist is seen when one is loaded.
    """
    arguments: list[dict[str, Any]] = []
    for inner in inner_datasets(dataset):
        loader = image_loader(inner)
        if loader is None or type(loader).transform is not LoadImageFromFile.transform:
            return []
        if (loader.file_client_args or {}).get("backend", "disk") != "disk":
            return []
        if loader.backend_args:
            arguments.append(loader.backend_args)
    paths = [path for index in indices for path in _paths(dataset, index)]
    # A prefix such as "s3://" chooses a backend, too.
    return [p for p in paths if "://" not in p and all(_is_local(p, args) for args in arguments)]


def _is_local(path: str, backend_args: dict[str, Any]) -> bool:
    try:
        backend = get_file_backend(path, backend_args=backend_args, enable_singleton=True)
    except Exception:  # its package is absent, or refuses the arguments: the loader will say so
        return False
    return type(backend) is LocalBackend


def check_files(paths: Sequence[str]) -> None:
    """Make sure that plain files exist and hold something.

    Raises:
        CalibrationDataError: Some do not (their number and the first).
    """
    missing = [path for path in paths if not osp.isfile(path)]
    if missing:
        raise CalibrationDataError(
            f"{len(missing)} of {len(paths)} images do not exist, first {missing[0]}; check "
            "data_root (--data-root) and data_prefix"
        )
    empty = [path for path in paths if osp.getsize(path) == 0]
    if empty:
        raise CalibrationDataError(
            f"{len(empty)} of {len(paths)} images are empty files, first {empty[0]}; replace or "
            "remove them"
        )


def image_loader(dataset: Any) -> Any:
    """The transform that brings the image: the first of the pipeline."""
    steps = getattr(getattr(dataset, "pipeline", None), "transforms", None)
    return steps[0] if steps else None


def load_picture(dataset: Any, path: str) -> NDArray[np.uint8]:
    """An image as the pipeline reads it, as RGB ``(H, W, 3)`` to be drawn on.

    Args:
        dataset: Of which ``path`` is an image; ``None`` for a plain file.
        path: As :func:`image_path` gives it.
    """
    loader = image_loader(next(inner_datasets(dataset))) or LoadImageFromFile()
    image = np.atleast_3d(np.asarray(loader({"img_path": path})["img"]))
    image = np.clip(image, 0, 255).astype(np.uint8)
    if image.shape[2] < 3:
        return np.repeat(image[..., :1], 3, axis=2)
    return np.ascontiguousarray(image[..., 2::-1])
