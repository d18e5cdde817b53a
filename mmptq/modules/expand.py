"""Attention modules taken apart, so that what they multiply can be quantized."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from mmptq.modules.multihead import ExpandedMultiheadAttention
from mmptq.modules.swap import replace_module
from mmptq.modules.window_attention import ExpandedWindowMSA

# By the full name of the class: a model that has such a module has imported its package, and nobody
# else need do so. Exact classes: a subclass may compute something else.
EXPANDED: dict[str, Callable[..., nn.Module]] = {
    "torch.nn.modules.activation.MultiheadAttention": ExpandedMultiheadAttention.from_float,
    "mmdet.models.backbones.swin.WindowMSA": ExpandedWindowMSA.from_float,
}


def expand_attention(model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Put expanded forms in place of ``model``'s attention modules; they share the parameters.

    Returns:
        ``(original, expanded)`` pairs.
    """
    found = [module for module in model.modules() if _has_expanded_form(module)]
    pairs = [(module, EXPANDED[_class_name(module)](module)) for module in found]
    for original, expanded in pairs:
        replace_module(model, original, expanded)
    return pairs


@contextmanager
def expanded_attention(model: nn.Module) -> Iterator[None]:
    """The model has its expanded form in this context."""
    pairs = expand_attention(model)
    try:
        yield
    finally:
        for original, expanded in pairs:
            replace_module(model, expanded, original)


def _has_expanded_form(module: nn.Module) -> bool:
    if isinstance(module, nn.MultiheadAttention) and not ExpandedMultiheadAttention.handles(module):
        return False
    return _class_name(module) in EXPANDED


def _class_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
