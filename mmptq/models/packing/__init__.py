"""A quantized model's state in little more than the bits of its codes.

A packed state dict has one tensor, a blob of bytes: a header (names, shapes, where each tensor is)
and what the header points to. torch's own format spends some 300 bytes on every tensor, of which a
quantized model has hundreds with a handful of bytes each.
"""

from mmptq.models.packing.pack import packed_state, stays_float
from mmptq.models.packing.unpack import PACKED_KEY, unpack_state

__all__ = ["PACKED_KEY", "packed_state", "stays_float", "unpack_state"]
