"""Checkpoint files as other tools write them, and as nobody should."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

MARK = "put the opcodes here"


def text(value: str) -> bytes:
    """Opcodes of a string."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def name(module: str, attribute: str) -> bytes:
    """Opcodes of a global."""
    return f"c{module}\n{attribute}\n".encode()


def call(function: bytes, *args: bytes) -> bytes:
    """Opcodes of a call."""
    return function + b"(" + b"".join(args) + b"tR"


def save_with_opcodes(state: Any, opcodes: bytes, path: Path, zipped: bool = True) -> None:
    """Save ``{"before": opcodes, "state_dict": state}`` with raw opcodes of one object in it."""
    torch.save({"before": MARK, "state_dict": state}, path, _use_new_zipfile_serialization=zipped)
    edit(path, text(MARK), opcodes)


def edit(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes of the pickle in a torch file of either format."""
    content = path.read_bytes()
    if not zipfile.is_zipfile(path):
        assert old in content
        path.write_bytes(content.replace(old, new))
        return
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(path, "w") as target,
    ):
        for item in source.infolist():
            data = source.read(item)
            if item.filename.endswith("/data.pkl"):
                assert old in data
                data = data.replace(old, new)
            target.writestr(item.filename, data)
