"""What subclasses of batch norms compute."""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmptq.modules.modes import evaluating

_KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
# What classes take behind the axis of the channels: maps, rows, tokens, volumes.
_SHAPES: tuple[tuple[int, ...], ...] = ((5, 5), (), (5,), (5, 5, 5))
_found: WeakKeyDictionary[nn.Module, nn.Module | None] = WeakKeyDictionary()


def behind_norm(norm: _BatchNorm) -> nn.Module | None:
    """What ``norm`` computes behind the normalisation: what stays of it when it is folded.

    A plain one leaves an identity. Some have their activation inside (timm's ``BatchNormAct2d``):
    these leave their own modules, in a row. A subclass is run on random input to see what it does.

    Returns:
        ``None`` for a norm without running statistics, and for one that computes anything else.
    """
    if norm.running_var is None:
        return None
    if type(norm) in _KNOWN:
        return nn.Identity()
    if norm not in _found:
        _found[norm] = _watched(norm)
    return _found[norm]


@torch.no_grad()
def _watched(norm: _BatchNorm) -> nn.Module | None:
    row = list(norm.children())
    rest = nn.Sequential(*row) if row else nn.Identity()
    with evaluating(norm):
        for shape in _SHAPES:
            x = torch.randn(3, norm.num_features, *shape)
            x = x.to(norm.running_var)  # type: ignore[arg-type]
            try:
                found: Any = norm(x.clone())
            except Exception:  # a stranger's code, which may want other axes
                continue
            return rest if _same(found, rest(_normalised(norm, x))) else None
    return None


def _normalised(norm: _BatchNorm, x: Tensor) -> Tensor:
    mean, var, weight, bias = norm.running_mean, norm.running_var, norm.weight, norm.bias
    return nn.functional.batch_norm(x, mean, var, weight, bias, False, 0.0, norm.eps)


def _same(a: Any, b: Tensor) -> bool:
    return isinstance(a, Tensor) and a.shape == b.shape and torch.allclose(a, b, 1e-4, 1e-5)
