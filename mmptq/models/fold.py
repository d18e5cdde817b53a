"""Folding batch norms into the layer before them."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmptq.modules import replace_module


def fold_batch_norms(model: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Fold each ``(layer, batch norm)`` pair of names in place; the norm becomes an identity.

    In eval mode the folded model computes the same function, up to float rounding.
    """
    for layer_name, norm_name in pairs:
        layer = cast(nn.Conv2d | nn.Linear, model.get_submodule(layer_name))
        norm = cast(_BatchNorm, model.get_submodule(norm_name))
        fold_pair(layer, norm)
        replace_module(model, norm, nn.Identity())


@torch.no_grad()
def fold_pair(layer: nn.Conv2d | nn.Linear, norm: _BatchNorm) -> None:
    r"""Fold the running statistics of ``norm`` into ``layer``, in float64.

    .. math:: W' = W \cdot g, \quad b' = (b - \mu) g + \beta,
              \quad g = \gamma / \sqrt{\sigma^2 + \epsilon}

    Raises:
        ValueError: ``norm`` keeps no running statistics.
    """
    if norm.running_var is None or norm.running_mean is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    var, mean = _double(norm.running_var), _double(norm.running_mean)
    gamma = torch.ones_like(var) if norm.weight is None else _double(norm.weight)
    beta = torch.zeros_like(var) if norm.bias is None else _double(norm.bias)
    gain = gamma / torch.sqrt(var + norm.eps)
    bias = torch.zeros_like(mean) if layer.bias is None else _double(layer.bias)
    weight = _double(layer.weight) * gain.reshape(-1, *[1] * (layer.weight.dim() - 1))
    layer.weight.copy_(weight)
    new_bias = ((bias - mean) * gain + beta).to(layer.weight.dtype)
    layer.bias = nn.Parameter(new_bias, requires_grad=layer.weight.requires_grad)


def _double(x: Tensor) -> Tensor:
    return x.detach().double()
