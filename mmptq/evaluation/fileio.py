"""Writing files so that a crash or a full disk leaves either the old file or the new one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mmptq.errors import MmptqError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a binary file that takes the place of ``path`` once it is complete.

    The data go to a hidden file in the same folder (made if missing), which is synced to disk and
    then renamed. If anything fails it is removed, and what stood under ``path`` stays.

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
            "the folder writable, or choose another one with --work-dir"
        ) from error
    finally:
        # Also after an error that is not ours, which passes through.
        _remove(temporary)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or unreadable: nothing was left there
        return
