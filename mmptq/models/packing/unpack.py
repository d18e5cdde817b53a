"""The state dict that a packed one was made of."""

import math
import zlib
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmptq import ops
from mmptq.models.packing.bits import packed_size, unpack_bits
from mmptq.models.packing.blob import damaged, unseal
from mmptq.ops import QuantScheme

PACKED_KEY = "quant_packed"

# What a state dict's metadata say of a module that says nothing itself.
DEFAULT_VERSION = {"version": 1}


def unpack_state(state_dict: MutableMapping[str, Any], prefix: str) -> None:
    """Put the tensors of the blob ``<prefix>quant_packed`` in its place.

    The modules' versions go into the metadata that travel with the state dict, if it has any: the
    load hooks that rename what older versions wrote look there.

    Raises:
        CheckpointError: The blob is damaged, or of a later version.
    """
    blob = state_dict.pop(prefix + PACKED_KEY)
    header, payload = unseal(blob)
    try:
        tensors = _tensors(header["tensors"], payload)
        versions = _versions(tensors, header["versions"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise damaged(f"{type(error).__name__}: {error}") from error
    except zlib.error as error:
        raise damaged(str(error)) from error
    state_dict.update({prefix + name: t.to(blob.device) for name, t in tensors.items()})
    metadata = getattr(state_dict, "_metadata", None)
    if metadata is not None:
        metadata.update({(prefix + name).removesuffix("."): v for name, v in versions.items()})


def _tensors(modules: Mapping[str, Any], payload: np.ndarray) -> dict[str, Tensor]:
    """All tensors in their order; those that follow from others are made behind these."""
    entries = {
        f"{module}.{key}" if module else key: entry
        for module, own in modules.items()
        for key, entry in own.items()
    }
    tensors = {name: _plain(payload, *entry) for name, entry in entries.items()}
    for name, (_, shape, form, *args) in entries.items():
        if form == "codes":
            prefix = f"{name.removesuffix('weight')}weight_quantizer."
            tensors[name] = _weight(payload, _Levels(tensors, prefix), shape, *args)
        elif form == "end":
            tensors[name] = _Levels(tensors, f"{name.rpartition('.')[0]}.").ends[args[0]]
    return tensors


def _plain(payload: np.ndarray, dtype_name: str, shape: list[int], form: str, *args: Any) -> Tensor:
    """A tensor that is stored itself; a placeholder for one that is not."""
    dtype = getattr(torch, dtype_name)
    tensor = torch.empty(shape, dtype=dtype, device="meta")  # for its sizes
    if form in ("codes", "end"):
        return tensor
    if form == "fill":
        data = np.frombuffer(bytes.fromhex(args[0]) * tensor.numel(), np.uint8)
    elif form == "text":
        data = np.frombuffer(zlib.decompress(_part(payload, *args).tobytes()), np.uint8)
    elif form == "raw":
        data = _part(payload, args[0], tensor.numel() * tensor.element_size())
    else:
        raise ValueError(f"a tensor in the form {form!r}")
    if not data.size:
        return torch.empty(shape, dtype=dtype)
    # A copy: aligned, and no view of the whole file.
    return torch.from_numpy(data.copy()).view(dtype).reshape(shape)


def _part(payload: np.ndarray, start: int, size: int) -> np.ndarray:
    part = payload[start : start + size]
    if len(part) != size or start < 0:
        raise ValueError(f"{size} bytes at {start} of {len(payload)}")
    return part


class _Levels:
    """A quantizer's levels, of its tensors in the state dict."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.scale = tensors[f"{prefix}scale"]
        self.zero_point = tensors[f"{prefix}zero_point"]
        bits, signed = tensors[f"{prefix}num_bits"], tensors[f"{prefix}signed"]
        # Whether an unsigned one is symmetric makes no difference to its codes.
        self.scheme = QuantScheme(float(bits), symmetric=bool(signed), signed=bool(signed))

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest level."""
        low, high = (self.scale * (end - self.zero_point) for end in self.scheme.bounds)
        return low, high


def _weight(
    payload: np.ndarray, levels: _Levels, shape: list[int], start: int, axis: int | None
) -> Tensor:
    """A weight's values on its quantizer's grid."""
    count, bits = math.prod(shape), int(levels.scheme.num_bits)
    codes = unpack_bits(_part(payload, start, packed_size(count, bits)), count, bits)
    # float32 holds 16 bits.
    values = torch.from_numpy(codes.astype(np.float32)).reshape(shape) + levels.scheme.bounds[0]
    return ops.dequantize(values, levels.scale, levels.zero_point, axis)


def _versions(tensors: Mapping[str, Tensor], odd: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of every module that holds a tensor, or holds one that does."""
    modules = {""}
    for name in tensors:
        while name := name.rpartition(".")[0]:
            modules.add(name)
    return {name: dict(odd.get(name, DEFAULT_VERSION)) for name in sorted(modules | set(odd))}
