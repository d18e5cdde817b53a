"""A model's state as one blob, with integer codes in place of quantized weights."""

import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.runner.checkpoint import get_state_dict, weights_to_cpu
from torch import Tensor, nn

from mmptq import ops
from mmptq.models.packing.bits import pack_bits
from mmptq.models.packing.blob import seal
from mmptq.models.packing.unpack import DEFAULT_VERSION, PACKED_KEY
from mmptq.modules import QuantLayer
from mmptq.quantizers import LevelQuantizer, UniformQuantizer


@torch.no_grad()
def packed_state(model: nn.Module) -> "OrderedDict[str, Tensor]":
    """State dict of ``model`` with one tensor, which :func:`unpack_state` makes the whole one of.

    A weight that a quantizer of whole bits reads is stored as its codes, and comes back as the
    values that the quantizer gives: outputs are the same, bit for bit, the float weight is gone. So
    is the range that a quantizer had before its step and zero point were rounded; the ends of its
    levels come back. All else is stored as it is.
    """
    state = weights_to_cpu(get_state_dict(model))
    layers, ends = _coded_layers(model), _range_ends(model)
    writer = _Writer()
    for name, tensor in state.items():
        if name in layers:
            writer.add_codes(name, tensor, layers[name])
        elif name in ends:
            writer.add(name, tensor, "end", None, ends[name])
        else:
            writer.add_tensor(name, tensor)
    versions = getattr(state, "_metadata", {})
    packed: OrderedDict[str, Tensor] = OrderedDict()
    packed[PACKED_KEY] = writer.seal(_odd_versions(versions))
    # Load hooks ask it for the version of their module: there must be one to be filled in.
    packed._metadata = OrderedDict({"": versions.get("", DEFAULT_VERSION)})  # type: ignore[attr-defined]
    return packed


def stays_float(model: nn.Module) -> dict[str, str]:
    """Layers with a weight that has a quantizer and no codes, and why."""
    coded = {id(layer) for layer in _coded_layers(model).values()}
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, QuantLayer) and id(module) not in coded:
            quantizer = module.weight_quantizer
            if quantizer is not None and quantizer.calibrated:
                found[name] = _reason(module, quantizer)
    return found


def _reason(layer: QuantLayer, quantizer: UniformQuantizer) -> str:
    if quantizer.scheme.num_bits % 1.0:
        return f"{quantizer.scheme.num_bits:g} bits are no whole number"
    if layer.weight_correction is not None:
        return "BiasCorrection(mode='weights') needs the float weight's moments"
    return "its weight has other readers, or values that codes do not give"


def _coded_layers(model: nn.Module) -> dict[str, QuantLayer]:
    """Name in the state dict -> layer whose weight is stored as codes, under all its names."""
    readers = defaultdict(list)
    for prefix, module in model.named_modules(remove_duplicate=False):
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                readers[id(tensor)].append((f"{prefix}.{key}" if prefix else key, module, key))
    coded = {}
    for found in readers.values():
        _, layer, _ = found[0]
        # A parameter that others hold too has to serve all of them.
        own = all(module is layer and key == "weight" for _, module, key in found)
        if own and isinstance(layer, QuantLayer) and _codes_tell_all(layer):
            coded.update({name: layer for name, _, _ in found})
    return coded


def _codes_tell_all(layer: QuantLayer) -> bool:
    """Whether what the layer multiplies by is a matter of its weight's codes alone."""
    quantizer, weight = layer.weight_quantizer, layer.weight
    if quantizer is None or layer.weight_correction is not None or not quantizer.calibrated:
        return False
    if quantizer.scheme.num_bits % 1.0 or weight.dtype != torch.float32:
        return False
    scale, zero_point, axis = quantizer.scale, quantizer.zero_point, quantizer.ch_axis
    bounds = quantizer.scheme.bounds
    value = ops.dequantize(quantizer.quantize(weight), scale, zero_point, axis)
    # Both hold for every step and up to 16 bits, but for overflows; a file that gives other bits
    # would be worse than a large one.
    return all(
        torch.equal(ops.fake_quantize(x, scale, zero_point, *bounds, ch_axis=axis), value)
        for x in (weight.detach(), value)
    )


def _range_ends(model: nn.Module) -> dict[str, int]:
    """Name in the state dict of each evenly spaced quantizer's lower (0) and upper (1) end."""
    return {
        f"{prefix}.{key}" if prefix else key: which
        for prefix, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, UniformQuantizer) and not isinstance(module, LevelQuantizer)
        for which, key in enumerate(("range_low", "range_high"))
    }


def _odd_versions(versions: Mapping[str, Any]) -> dict[str, Any]:
    """Modules of another version than the one that nearly all have."""
    return {name: dict(entry) for name, entry in versions.items() if entry != DEFAULT_VERSION}


class _Writer:
    """Collects tensors; what is equal is stored once."""

    def __init__(self) -> None:
        # By module: a quantizer's names differ in their last part alone.
        self._entries: dict[str, dict[str, list[Any]]] = {}
        self._chunks: dict[bytes, int] = {}
        self._size = 0

    def add(self, name: str, tensor: Tensor, form: str, data: bytes | None, *args: Any) -> None:
        """One tensor, with what it is made of."""
        dtype = str(tensor.dtype).removeprefix("torch.")
        place = [] if data is None else [self._place(data)]
        module, _, key = name.rpartition(".")
        entry = [dtype, list(tensor.shape), form, *place, *args]
        self._entries.setdefault(module, {})[key] = entry

    def add_codes(self, name: str, tensor: Tensor, layer: QuantLayer) -> None:
        """A weight as its codes, which begin at 0."""
        quantizer = layer.weight_quantizer
        assert quantizer is not None
        scheme = quantizer.scheme
        codes = quantizer.quantize(layer.weight.detach()) - scheme.bounds[0]
        data = pack_bits(codes.flatten().cpu().numpy().astype(np.uint16), int(scheme.num_bits))
        self.add(name, tensor, "codes", data, quantizer.ch_axis)

    def add_tensor(self, name: str, tensor: Tensor) -> None:
        """A tensor as it is: its one value, or all of them."""
        data = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()
        elements = data.reshape(max(tensor.numel(), 1), -1)
        if tensor.numel() and bool((elements == elements[0]).all()):
            self.add(name, tensor, "fill", None, elements[0].tobytes().hex())
        elif tensor.dtype == torch.uint8:  # the plan, which is text
            text = zlib.compress(data.tobytes(), 9)
            self.add(name, tensor, "text", text, len(text))
        else:
            self.add(name, tensor, "raw", data.tobytes())

    def seal(self, versions: Mapping[str, Any]) -> Tensor:
        """All of it in one tensor."""
        return seal({"tensors": self._entries, "versions": versions}, b"".join(self._chunks))

    def _place(self, data: bytes) -> int:
        if data not in self._chunks:
            self._chunks[data] = self._size
            self._size += len(data)
        return self._chunks[data]
