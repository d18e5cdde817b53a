"""Folding batch norms into the layer before them."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmptq.errors import CheckpointError
from mmptq.modules import behind_norm, channels_first, replace_module


def fold_batch_norms(model: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Fold each ``(layer, batch norm)`` pair of names in place.

    The norm becomes an identity, or what its class computes behind it, such as an activation.

    In eval mode the folded model computes the same function, up to float rounding.
    """
    for layer_name, norm_name in pairs:
        layer = model.get_submodule(layer_name)
        norm = cast(_BatchNorm, model.get_submodule(norm_name))
        rest = behind_norm(norm)
        if rest is None:
            raise CheckpointError(
                f"the plan folds {norm_name}, a {type(norm).__name__}, which computes more than a "
                "batch norm; quantize the float model again"
            )
        fold_pair(layer, norm)
        replace_module(model, norm, rest)


@torch.no_grad()
def fold_pair(layer: Any, norm: _BatchNorm) -> None:
    r"""Fold the running statistics of ``norm`` into ``layer``, in float64.

    .. math:: W' = W \cdot g, \quad b' = (b - \mu) g + \beta,
              \quad g = \gamma / \sqrt{\sigma^2 + \epsilon}

    Args:
        layer: A convolution, transposed or not, or a linear layer. Without a bias it gets one.
        norm: What reads its output.

    Raises:
        ValueError: ``norm`` keeps no running statistics.
    """
    if norm.running_var is None or norm.running_mean is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    var, mean = _double(norm.running_var), _double(norm.running_mean)
    gamma = torch.ones_like(var) if norm.weight is None else _double(norm.weight)
    beta = torch.zeros_like(var) if norm.bias is None else _double(norm.bias)
    gain = gamma / torch.sqrt(var + norm.eps)
    own: Tensor | None = getattr(layer, "bias", None)
    bias = torch.zeros_like(mean) if own is None else _double(own)
    rows = channels_first(layer, _double(layer.weight))
    scaled = rows * gain.reshape(-1, *[1] * (rows.dim() - 1))
    layer.weight.copy_(channels_first(layer, scaled))
    new_bias = ((bias - mean) * gain + beta).to(layer.weight.dtype)
    layer.bias = nn.Parameter(new_bias, requires_grad=layer.weight.requires_grad)


def _double(x: Tensor) -> Tensor:
    return x.detach().double()
