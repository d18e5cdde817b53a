"""The frame of a packed state: header and bytes in one uint8 tensor that shows any damage."""

import json
import struct
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmptq.errors import CheckpointError

MAGIC = b"mmptq-pk"
VERSION = 1

# Magic, version, checksum of all that follows it, size of the header.
_FRAME = struct.Struct("<8sIII")
_SUMMED_FROM = _FRAME.size - 4


def seal(header: Any, payload: bytes) -> Tensor:
    """One uint8 tensor of a JSON value and bytes."""
    text = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    body = struct.pack("<I", len(text)) + text + payload
    frame = _FRAME.pack(MAGIC, VERSION, zlib.crc32(body), len(text))
    return torch.from_numpy(np.frombuffer(bytearray(frame[:_SUMMED_FROM] + body), np.uint8))


def unseal(blob: Tensor) -> tuple[Any, np.ndarray]:
    """Inverse of :func:`seal`; the payload is uint8.

    Raises:
        CheckpointError: The tensor is none that :func:`seal` made, or a byte of it has changed.
    """
    if blob.dtype != torch.uint8 or blob.dim() != 1:
        raise damaged(f"it is a {blob.dtype} of shape {tuple(blob.shape)}")
    data = blob.detach().cpu().contiguous().numpy()
    if len(data) < _FRAME.size:
        raise damaged(f"it ends after {len(data)} bytes")
    magic, version, checksum, size = _FRAME.unpack(data[: _FRAME.size].tobytes())
    if magic != MAGIC:
        raise damaged(f"it begins with {magic!r}")
    if version != VERSION:
        raise CheckpointError(
            f"the packed checkpoint has version {version}, this mmptq reads {VERSION}; open it "
            "with the mmptq that wrote it, or quantize the float model again"
        )
    if zlib.crc32(data[_SUMMED_FROM:].data) != checksum:
        raise damaged("its checksum does not fit")
    text = data[_FRAME.size : _FRAME.size + size]
    try:
        return json.loads(zlib.decompress(text.tobytes())), data[_FRAME.size + size :]
    except (ValueError, zlib.error) as error:
        raise damaged(str(error)) from error


def damaged(reason: str) -> CheckpointError:
    """What is raised about bytes that no packed state has."""
    return CheckpointError(
        f"the packed checkpoint is damaged ({reason}); copy or pack it again, or quantize the "
        "float model again"
    )
