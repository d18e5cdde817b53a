"""Which float layers have a quantized counterpart."""

import functools
from typing import Any
from weakref import WeakKeyDictionary

from mmcv.cnn.bricks import wrappers
from torch import nn

from mmptq.modules.conv import QuantConv2d, QuantConvTranspose2d
from mmptq.modules.deformable import QuantDeformable
from mmptq.modules.embedding import EmbeddingTable, QuantEmbedding
from mmptq.modules.layer import QuantLayer
from mmptq.modules.linear import QuantLinear
from mmptq.modules.operand import Operand, QuantOperand
from mmptq.modules.packed_linear import PackedLinear, QuantPackedLinear
from mmptq.modules.probe import multiplies_by_own_weight

# What is known without a look at what it computes. mmcv's wrappers only add handling of empty
# batches for old PyTorch versions.
QUANTIZABLE: dict[type[nn.Module], type[QuantLayer]] = {
    nn.Conv2d: QuantConv2d,
    wrappers.Conv2d: QuantConv2d,
    nn.ConvTranspose2d: QuantConvTranspose2d,
    wrappers.ConvTranspose2d: QuantConvTranspose2d,
    nn.Linear: QuantLinear,
    wrappers.Linear: QuantLinear,
    PackedLinear: QuantPackedLinear,
    Operand: QuantOperand,
    EmbeddingTable: QuantEmbedding,
}
# By the full name of the class, see :data:`mmptq.modules.expand.EXPANDED`.
_NAMED: dict[str, type[QuantLayer]] = {
    "mmcv.ops.deform_conv.DeformConv2d": QuantDeformable,
    "mmcv.ops.modulated_deform_conv.ModulatedDeformConv2d": QuantLayer,
}
_multiplies: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def quantized_class(layer: nn.Module) -> type[QuantLayer] | None:
    """The class of the quantized counterpart of ``layer``, ``None`` where it has none.

    A subclass may compute something else than its base, so it is run to see
    (:func:`~mmptq.modules.probe.multiplies_by_own_weight`); its counterpart keeps its forward.
    """
    if isinstance(layer, QuantLayer):
        return None
    cls: Any = type(layer)
    if cls in QUANTIZABLE:
        # A weight that a hook computes is no parameter of the layer.
        return QUANTIZABLE[cls] if cls is Operand or "weight" in layer._parameters else None
    mixin: Any = _NAMED.get(full_name(cls))
    if mixin is not None:
        return _derived(mixin, cls)
    if layer not in _multiplies:
        _multiplies[layer] = multiplies_by_own_weight(layer)
    return _derived(QuantLayer, cls) if _multiplies[layer] else None


def to_quantized(layer: nn.Module) -> QuantLayer:
    """The quantized counterpart of ``layer``, sharing its parameters, with no quantizer set.

    Raises:
        TypeError: It has none.
    """
    cls: Any = quantized_class(layer)
    if cls is None:
        raise TypeError(f"a {type(layer).__name__} has no quantized counterpart")
    return cls.from_float(layer)


def full_name(cls: type) -> str:
    """Module and name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


@functools.cache
def _derived(mixin: Any, cls: Any) -> type[QuantLayer]:
    return type(f"Quant{cls.__name__}", (mixin, cls), {"__module__": __name__})


def replace_module(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever ``root`` holds ``old``; a shared module hangs under several names."""
    for parent in list(root.modules()):
        for name, child in list(parent._modules.items()):  # named_children() skips repetitions
            if child is old:
                setattr(parent, name, new)
