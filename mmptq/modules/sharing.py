"""Modules of another class over the same parameters."""

from typing import Any, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def share(cls: type[M], module: nn.Module) -> M:
    """An instance of ``cls`` with the attributes, parameters, buffers and modules of ``module``.

    What is registered or set on one of them later is not on the other. Hooks stay with ``module``.
    """
    new = cls.__new__(cls)
    nn.Module.__init__(new)
    own: dict[str, Any] = vars(new)
    own.update({key: value for key, value in vars(module).items() if key not in own})
    for kind in ("_parameters", "_buffers", "_modules"):
        own[kind].update(vars(module)[kind])
    own["_non_persistent_buffers_set"] = set(module._non_persistent_buffers_set)
    new.training = module.training
    return new
