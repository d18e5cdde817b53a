"""The frame: whatever happens to its bytes is noticed."""

import struct

import pytest
import torch
from torch import Tensor

from mmptq.errors import CheckpointError
from mmptq.models.packing.blob import MAGIC, VERSION, seal, unseal

HEADER = {"tensors": {"a": {"b": ["float32", [2], "raw", 0]}}, "versions": {"ä": None}}


def test_back_and_forth() -> None:
    blob = seal(HEADER, b"\x00\x01\xff")
    assert blob.dtype == torch.uint8 and blob.dim() == 1
    header, payload = unseal(blob)
    assert header == HEADER and payload.tobytes() == b"\x00\x01\xff"


def test_nothing_in_it() -> None:
    header, payload = unseal(seal([], b""))
    assert header == [] and len(payload) == 0


def test_every_changed_byte_is_noticed() -> None:
    blob = seal(HEADER, b"payload")
    for i in range(len(blob)):
        other = blob.clone()
        other[i] ^= 4
        with pytest.raises(CheckpointError, match="packed checkpoint"):
            unseal(other)


def test_every_missing_end_is_noticed() -> None:
    blob = seal(HEADER, b"payload")
    for end in range(len(blob)):
        with pytest.raises(CheckpointError, match="packed checkpoint is damaged"):
            unseal(blob[:end])


@pytest.mark.parametrize(
    "tensor", [torch.zeros(40), torch.zeros(4, 10, dtype=torch.uint8), torch.tensor(1)]
)
def test_another_tensor_in_its_place(tensor: Tensor) -> None:
    with pytest.raises(CheckpointError, match="damaged.*shape"):
        unseal(tensor)


def test_a_later_version_is_named() -> None:
    blob = seal(HEADER, b"")
    start = len(MAGIC)
    version = torch.tensor(list(struct.pack("<I", VERSION + 1)), dtype=torch.uint8)
    blob[start : start + 4] = version
    with pytest.raises(CheckpointError, match=f"version {VERSION + 1}, this mmptq reads {VERSION}"):
        unseal(blob)
