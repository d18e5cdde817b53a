"""Files inside a zip archive, read in place by MMEngine's file API."""

import os
import zipfile
from functools import lru_cache

from mmengine.fileio import register_backend
from mmengine.fileio.backends import BaseStorageBackend

PREFIX = "zip://"
_SEPARATOR = "!/"


@register_backend("zip", prefixes="zip")
class ZipBackend(BaseStorageBackend):
    """Reads ``zip://<archive>!/<member>``."""

    def get(self, filepath: str) -> bytes:
        """The member's bytes.

        Raises:
            FileNotFoundError: There is no such archive or member.
        """
        archive, _, member = str(filepath).removeprefix(PREFIX).partition(_SEPARATOR)
        try:
            return _open(archive, os.getpid()).read(member)
        except KeyError as error:
            raise FileNotFoundError(f"{archive} holds no {member}") from error

    def get_text(self, filepath: str, encoding: str = "utf-8") -> str:
        """The member's text."""
        return self.get(filepath).decode(encoding)


def member_path(archive: str | os.PathLike[str], member: str) -> str:
    """What :class:`ZipBackend` reads."""
    return f"{PREFIX}{os.fspath(archive)}{_SEPARATOR}{member}"


def members(archive: str | os.PathLike[str]) -> dict[str, int]:
    """Names and sizes of the files in an archive.

    Raises:
        zipfile.BadZipFile: It is none.
    """
    found = _open(os.fspath(archive), os.getpid()).infolist()
    return {info.filename: info.file_size for info in found if not info.is_dir()}


@lru_cache(maxsize=16)
def _open(archive: str, process: int) -> zipfile.ZipFile:
    # One a process: a worker that inherits an open file shares its place in it.
    return zipfile.ZipFile(archive)
