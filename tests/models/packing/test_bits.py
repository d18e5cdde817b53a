"""Numbers of a few bits, against numpy's own packing of single bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmptq.models.packing.bits import pack_bits, packed_size, unpack_bits

CHUNK = 2**20


def numbers(count: int, bits: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**bits, count).astype(np.uint16)


def numpys(codes: np.ndarray, bits: int) -> bytes:
    """The lowest ``bits`` bits of each, packed by numpy."""
    single = np.unpackbits(codes.astype("<u2").view(np.uint8), bitorder="little")
    return np.packbits(single.reshape(-1, 16)[:, :bits], bitorder="little").tobytes()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.integers(0, 70), st.integers(0, 2**31 - 1))
def test_as_numpy_packs_them(bits: int, count: int, seed: int) -> None:
    codes = numbers(count, bits, seed)
    assert pack_bits(codes, bits) == numpys(codes, bits)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 16), st.integers(0, 70), st.integers(0, 2**31 - 1))
def test_back_and_forth(bits: int, count: int, seed: int) -> None:
    codes = numbers(count, bits, seed)
    data = np.frombuffer(pack_bits(codes, bits), np.uint8)
    assert len(data) == packed_size(count, bits) <= count * bits / 8 + 2
    assert np.array_equal(unpack_bits(data, count, bits), codes)


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 9])
def test_more_than_a_chunk(count: int) -> None:
    codes = numbers(count, 5)
    data = pack_bits(codes, 5)
    assert data == numpys(codes, 5)
    assert np.array_equal(unpack_bits(np.frombuffer(data, np.uint8), count, 5), codes)


def test_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="8 codes of 4 bits in 3 bytes"):
        unpack_bits(np.zeros(3, np.uint8), 8, 4)
