"""Whole numbers of a few bits, one behind the other without a gap."""

import numpy as np

# Codes at a time: the numbers they are made of take eight bytes each. A multiple of 8.
_CHUNK = 2**20


def packed_size(count: int, bits: int) -> int:
    """Bytes of ``count`` numbers of ``bits`` bits."""
    if bits > 8:
        return packed_size(count, 8) + packed_size(count, bits - 8)
    return -(-count * bits // 8)


def pack_bits(codes: np.ndarray, bits: int) -> bytes:
    """The bytes of ``codes``, the lowest bit first; beyond 8 bits, all low bytes come first.

    Args:
        codes: ``(N,)`` whole numbers in ``[0, 2**bits)``, unsigned.
        bits: From 1 to 16.
    """
    if bits > 8:
        return pack_bits(codes & 0xFF, 8) + pack_bits(codes >> 8, bits - 8)
    chunks = range(0, len(codes), _CHUNK)
    return b"".join(_pack_chunk(codes[i : i + _CHUNK], bits) for i in chunks)


def unpack_bits(data: np.ndarray, count: int, bits: int) -> np.ndarray:
    """Inverse of :func:`pack_bits`.

    Args:
        data: ``(packed_size(count, bits),)`` bytes.
        count: How many numbers these are.
        bits: From 1 to 16.

    Returns:
        ``(count,)`` uint16.

    Raises:
        ValueError: ``data`` has another size.
    """
    if len(data) != packed_size(count, bits):
        raise ValueError(f"{count} codes of {bits} bits in {len(data)} bytes")
    if bits > 8:
        low, high = data[:count], data[count:]
        return low.astype(np.uint16) | (unpack_bits(high, count, bits - 8) << 8)
    codes = np.empty(count, np.uint16)
    for i in range(0, count, _CHUNK):
        part = codes[i : i + _CHUNK]
        start = i // 8 * bits
        part[:] = _unpack_chunk(data[start : start + packed_size(len(part), bits)], bits)[
            : len(part)
        ]
    return codes


def _pack_chunk(codes: np.ndarray, bits: int) -> bytes:
    # Eight codes of b bits are the lowest b bytes of a 64-bit number.
    eights = np.zeros((-(-len(codes) // 8), 8), np.uint64)
    eights.reshape(-1)[: len(codes)] = codes
    words = np.bitwise_or.reduce(eights << _shifts(bits), axis=1)
    data = words.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :bits].tobytes()
    return data[: packed_size(len(codes), bits)]


def _unpack_chunk(data: np.ndarray, bits: int) -> np.ndarray:
    words = np.zeros((-(-len(data) // bits), 8), np.uint8)
    padded = np.zeros(len(words) * bits, np.uint8)
    padded[: len(data)] = data
    words[:, :bits] = padded.reshape(-1, bits)
    eights = words.view("<u8").astype(np.uint64) >> _shifts(bits)
    return (eights & np.uint64(2**bits - 1)).reshape(-1)


def _shifts(bits: int) -> np.ndarray:
    return np.arange(8, dtype=np.uint64) * np.uint64(bits)
