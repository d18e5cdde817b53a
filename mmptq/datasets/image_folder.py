"""Images in one folder a class."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mmengine.dataset import BaseDataset

from mmptq.datasets.zip_backend import member_path, members
from mmptq.errors import CalibrationDataError
from mmptq.registry import DATASETS

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp")


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """Classification set in which each class is a folder of images.

    ``<data_root>/<data_prefix['img']>/<class>/**/<image>``; the label is the class's place among
    the sorted folder names, or in ``metainfo['classes']`` where that is given. Where the folder
    does not exist and a zip archive of its name does, images are read from that, in place; all may
    stand in one outer folder there.

    Args:
        data_root: Folder of the set.
        data_prefix: ``dict(img='test/')``.
        extensions: Endings of image files, in lower case.
        kwargs: As for MMEngine's ``BaseDataset`` (``pipeline``, ``metainfo``, ``indices``, ...).

    Raises:
        CalibrationDataError: The folder is missing or has no class folders, a class has no image,
            or a folder is none of ``metainfo['classes']``.
    """

    def __init__(
        self,
        data_root: str = "",
        data_prefix: dict[str, str] | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        **kwargs: Any,
    ) -> None:
        self.extensions = tuple(extensions)
        super().__init__(
            ann_file="", data_root=data_root, data_prefix=data_prefix or {"img": ""}, **kwargs
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """``img_path`` and ``gt_label`` of every image, by class and name."""
        root = Path(self.data_prefix["img"])
        archive = root.with_name(f"{root.name}.zip")
        if root.is_dir():
            files = folder_images(root, self.extensions)
        elif archive.is_file():
            root, files = archive, zip_images(archive, self.extensions)
        else:
            raise CalibrationDataError(
                f"there is no folder {root} and no {archive.name} beside it; check data_root "
                "(--data-root) and data_prefix"
            )
        classes = self._classes(root, files)
        return [
            {"img_path": path, "gt_label": classes.index(name)}
            for name in sorted(files)
            for path in sorted(files[name])
        ]

    def _classes(self, root: Path, files: dict[str, list[str]]) -> tuple[str, ...]:
        """Names of the classes; fails where they do not fit the folders."""
        if not files:
            raise CalibrationDataError(f"{root} has no class folders: one folder of images a class")
        empty = [name for name, found in files.items() if not found]
        if empty:
            raise CalibrationDataError(
                f"{root}: the class folder {empty[0]} holds no image "
                f"({', '.join(self.extensions)}); fill or remove it"
            )
        classes = tuple(self._metainfo.get("classes") or sorted(files))
        unknown = sorted(set(files).difference(classes))
        lacking = [name for name in classes if name not in files]
        if unknown or lacking:
            raise CalibrationDataError(
                f"{root} has {len(files)} class folders, metainfo.classes names {len(classes)}; "
                f"no class: {unknown[:3]}, no folder: {lacking[:3]}"
            )
        self._metainfo["classes"] = classes
        return classes


def folder_images(root: Path, extensions: tuple[str, ...]) -> dict[str, list[str]]:
    """Class -> image files, of the folders in ``root``."""
    classes = sorted(e.name for e in os.scandir(root) if e.is_dir() and e.name[0] != ".")
    return {
        name: [
            os.path.join(parent, file)
            for parent, _, files in os.walk(root / name)
            for file in files
            if file.lower().endswith(extensions)
        ]
        for name in classes
    }


def zip_images(archive: Path, extensions: tuple[str, ...]) -> dict[str, list[str]]:
    """Class -> image files, of the folders in a zip archive.

    Raises:
        CalibrationDataError: The archive is broken or holds an empty image file.
    """
    try:
        sizes = members(archive)
    except zipfile.BadZipFile as error:
        raise CalibrationDataError(f"{archive} is no zip archive ({error})") from error
    names = [name for name in sizes if name.lower().endswith(extensions)]
    empty = [name for name in names if sizes[name] == 0]
    if empty:
        raise CalibrationDataError(f"{archive}: {empty[0]} is an empty file; replace or remove it")
    found = [PurePosixPath(name) for name in names]
    # All in one outer folder, and in folders inside that.
    outer = len({path.parts[0] for path in found}) == 1 and all(len(p.parts) > 2 for p in found)
    files: dict[str, list[str]] = {}
    for path in found:
        if len(path.parts) > outer + 1:
            files.setdefault(path.parts[outer], []).append(member_path(archive, str(path)))
    return files
