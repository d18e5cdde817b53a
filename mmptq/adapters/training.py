"""A model's own training loss, as a function: equal parameters give equal values."""

import inspect
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmptq.adapters.randomness import frozen_random

# What is trained beside the heads: these compute in training as they do in inference, but for
# norms and dropout.
FEATURES = ("backbone", "neck", "data_preprocessor")

# Behind the first epochs, in which some heads assign in another way.
_LATE_EPOCH = 1_000_000


@contextmanager
def as_in_training(model: Any) -> Iterator[None]:
    """The heads behave as in training; norms, dropout, random numbers and memory are held fixed.

    A head's ``training`` decides more than norms: FCOS normalizes its distances, DINO adds queries
    to be denoised. What a loss remembers (GHM's bins, Dynamic R-CNN's thresholds) is put back.
    """
    heads = [module for name, module in model.named_modules() if _learns(name, module)]
    modes = [module.training for module in heads]
    memory = _Memory(heads)
    _set_modes(heads, [True] * len(heads))
    try:
        with frozen_random(), _late_epoch(model):
            yield
    finally:
        _set_modes(heads, modes)
        memory.restore()


def _set_modes(modules: list[nn.Module], modes: list[bool]) -> None:
    for module, mode in zip(modules, modes, strict=True):
        vars(module)["training"] = mode  # a module's own __setattr__ takes many times as long


@contextmanager
def _late_epoch(model: Any) -> Iterator[None]:
    """The epoch that a training would be in: heads ask MMEngine's message hub or are told."""
    hub = MessageHub.get_current_instance()
    epoch = hub.get_info("epoch")
    hub.update_info("epoch", _LATE_EPOCH)
    if hasattr(model, "set_epoch"):
        model.set_epoch(_LATE_EPOCH)
    try:
        yield
    finally:
        hub.pop_info("epoch")
        if epoch is not None:
            hub.update_info("epoch", epoch)


def _learns(name: str, module: nn.Module) -> bool:
    """Whether ``module`` is part of a head and neither a norm nor at random in training."""
    if name.partition(".")[0] in FEATURES:
        return False
    kind = type(module).__name__
    norm = isinstance(module, nn.modules.batchnorm._NormBase) or "Norm" in kind
    return not norm and "Drop" not in kind and "Attention" not in kind


class _Memory:
    """What modules, and the plain objects that they hold (assigners, samplers), remember."""

    def __init__(self, modules: list[nn.Module]) -> None:
        owners = [*modules, *_helpers(modules)]
        self._plain = [(vars(owner), _plain_state(owner)) for owner in owners]
        values = [value for _, state in self._plain for value in state.values()]
        # By object: several owners may share one, and go on to do so.
        containers = {id(v): v for v in values if isinstance(v, list | dict | deque)}
        self._contents = [(container, container.copy()) for container in containers.values()]
        buffers = {id(b): b for module in modules for b in module.buffers(recurse=False)}
        self._buffers = [(b, b._version, b.clone()) for b in buffers.values()]

    @torch.no_grad()
    def restore(self) -> None:
        """Put it back."""
        for owned, state in self._plain:
            owned.update(state)
        for container, content in self._contents:
            container.clear()
            container.update(content) if isinstance(container, dict) else container.extend(content)
        for buffer, version, value in self._buffers:
            if buffer._version != version:
                buffer.copy_(value)


def _helpers(modules: list[nn.Module]) -> list[Any]:
    """The plain objects that ``modules`` hold, and those that these hold."""
    found: dict[int, Any] = {}
    todo: list[Any] = list(modules)
    while todo:
        for name, value in vars(todo.pop()).items():
            if name.startswith("_"):
                continue
            for item in value if isinstance(value, list | tuple) else (value,):
                if _is_helper(item) and id(item) not in found:
                    found[id(item)] = item
                    todo.append(item)
    return list(found.values())


def _is_helper(item: Any) -> bool:
    other = isinstance(item, type | nn.Module | Tensor | dict) or inspect.isroutine(item)
    return hasattr(item, "__dict__") and not other


def _plain_state(owner: Any) -> dict[str, Any]:
    """Numbers and containers: what is rebound, or written to, from call to call."""
    kinds = (bool, int, float, list, dict, deque)
    return {
        name: value
        for name, value in vars(owner).items()
        if type(value) in kinds and not name.startswith("_") and name != "training"
    }
