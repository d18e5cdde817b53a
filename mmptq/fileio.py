"""Writing files so that a crash or a full disk leaves either the old file or the new one."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from mmptq.errors import MmptqError


def cache_folder() -> Path:
    """Where what can be made again is kept: ``$MMPTQ_CACHE``, else ``~/.cache/mmptq``."""
    return Path(os.environ.get("MMPTQ_CACHE", "~/.cache/mmptq")).expanduser()


@contextmanager
def atomic_write(path: str | os.PathLike[str], option: str = "--work-dir") -> Iterator[IO[bytes]]:
    """Open a binary file that takes the place of ``path`` once it is complete.

    The data go to a hidden file in the same folder (made if missing), which is synced to disk and
    then renamed. If anything fails it is removed, and what stood under ``path`` stays.

    Args:
        path: Of the file.
        option: By which a user chooses another folder.

    Raises:
        MmptqError: The folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MmptqError(
            f"cannot write {path}: {reason}. Nothing that was there has changed; make room or make "
            f"the folder writable, or choose another one with {option}"
        ) from error
    finally:
        # Also after an error that is not ours, which passes through.
        _remove(temporary)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or unreadable: nothing was left there
        return


def save_text(path: str | os.PathLike[str], text: str, option: str = "--work-dir") -> None:
    """Write ``text`` as UTF-8, whole or not at all; arguments and errors as of `atomic_write`."""
    with atomic_write(path, option) as file:
        # A file's name may hold half of a character, which no encoding has.
        file.write(text.encode("utf-8", "replace"))


def save_json(
    path: str | os.PathLike[str],
    content: Any,
    option: str = "--work-dir",
    indent: int | None = 1,
) -> None:
    """Write ``content`` as JSON, whole or not at all; what JSON does not know becomes its ``str``.

    Raises:
        MmptqError: The file cannot be written.
    """
    save_text(path, json.dumps(content, indent=indent, default=str) + "\n", option)


def save_torch(path: str | os.PathLike[str], content: Any) -> None:
    """``torch.save``, whole or not at all.

    Raises:
        MmptqError: The file cannot be written.
    """
    with atomic_write(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch's zip writer hides the disk's error behind one of its own.
            raise MmptqError(f"cannot write {path}: {error}; is the disk full?") from error


def plain(value: Any) -> Any:
    """``value`` in types that a ``weights_only`` load and JSON know.

    Tuples and sets become lists, numpy's numbers Python's, arrays nested lists, and what is none of
    these its ``str``. Tensors stay.
    """
    if value is None or isinstance(value, bool | Tensor):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    # Not isinstance: a subclass (an enum, a Path) would be pickled by its class.
    if type(value) in (str, int, float):
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    return str(value)
