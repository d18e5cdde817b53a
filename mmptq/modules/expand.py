"""Modules in the form in which what they multiply can be quantized."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from mmptq.modules.conditional_attention import ExpandedConditionalAttention
from mmptq.modules.deformable import ExpandedDeformPack
from mmptq.modules.multihead import ExpandedMultiheadAttention
from mmptq.modules.probe import with_constant_weight
from mmptq.modules.self_attention import ExpandedMmpretrainAttention, ExpandedTimmAttention
from mmptq.modules.shifted_attention import ExpandedShiftedWindowAttention
from mmptq.modules.swap import full_name, quantized_class, replace_module
from mmptq.modules.window_attention import ExpandedWindowMSA

# By the full name of the class: a model that has such a module has imported its package, and nobody
# else need do so. Exact classes: a subclass may compute something else. A form of only some modules
# has `handles`, which says of which.
EXPANDED: dict[str, Any] = {
    "torch.nn.modules.activation.MultiheadAttention": ExpandedMultiheadAttention,
    "mmdet.models.backbones.swin.WindowMSA": ExpandedWindowMSA,
    "mmdet.models.layers.transformer.utils.ConditionalAttention": ExpandedConditionalAttention,
    "mmpretrain.models.utils.attention.MultiheadAttention": ExpandedMmpretrainAttention,
    "mmpretrain.models.utils.attention.WindowMSA": ExpandedWindowMSA,
    "timm.layers.attention.Attention": ExpandedTimmAttention,
    "timm.models.vision_transformer.Attention": ExpandedTimmAttention,  # before timm 1.0.18
    "timm.models.swin_transformer.WindowAttention": ExpandedWindowMSA,
    "torchvision.models.swin_transformer.ShiftedWindowAttention": ExpandedShiftedWindowAttention,
    "mmcv.ops.deform_conv.DeformConv2dPack": ExpandedDeformPack,
    "mmcv.ops.modulated_deform_conv.ModulatedDeformConv2dPack": ExpandedDeformPack,
}

Replaced = list[tuple[nn.Module, nn.Module]]


def expand_modules(model: nn.Module, weights: Iterable[str] | None = None) -> Replaced:
    """Put expanded forms in place of ``model``'s modules; they compute the same.

    Modules whose products are no layers are taken apart; their parts share the parameters. Layers
    that make their weight of parameters get the weight itself, see
    :func:`~mmptq.modules.probe.with_constant_weight`.

    Args:
        model: Float, or prepared (which has little left to expand).
        weights: Names of the layers that get their weight itself; ``None`` for all that can.

    Returns:
        ``(original, expanded)`` pairs.
    """
    found = [module for module in model.modules() if _has_expanded_form(module)]
    pairs = [(module, EXPANDED[full_name(type(module))].from_float(module)) for module in found]
    _replace(model, pairs)
    named = (
        model.named_modules() if weights is None else [(n, model.get_submodule(n)) for n in weights]
    )
    constant = [(module, plain) for _, module in named if (plain := _with_own_weight(module))]
    _replace(model, constant)
    return pairs + constant


@contextmanager
def expanded_modules(model: nn.Module) -> Iterator[None]:
    """The model has its expanded form in this context."""
    pairs = expand_modules(model)
    try:
        yield
    finally:
        _replace(model, [(expanded, original) for original, expanded in reversed(pairs)])


def _replace(model: nn.Module, pairs: Replaced) -> None:
    for old, new in pairs:
        replace_module(model, old, new)


def _with_own_weight(module: nn.Module) -> nn.Module | None:
    return None if quantized_class(module) else with_constant_weight(module)


def _has_expanded_form(module: nn.Module) -> bool:
    form = EXPANDED.get(full_name(type(module)))
    return form is not None and (not hasattr(form, "handles") or form.handles(module))
