"""One pass over the calibration set finds what the channels of some activations are like."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from mmengine.dist import all_gather_object
from torch import Tensor, nn

from mmptq.engine.data.collect import merge_processes
from mmptq.engine.data.reach import read_by
from mmptq.models import QuantModel
from mmptq.observers import ChannelStatistics, StreamingStatistics

Batches = Iterable[tuple[int, dict[str, Any]]]


@torch.no_grad()
def channel_ranges(
    model: QuantModel, layers: Collection[str], batches: Batches
) -> dict[str, Tensor]:
    """Largest absolute value of each channel that the layers read, divided as they divide it.

    Args:
        model: Prepared; its quantizers stay as they are.
        layers: Names of layers with a weight; all calls of a layer count together.
        batches: ``(position, collated batch)`` of this process.

    Returns:
        Layer -> ``(C,)`` on the CPU, the same on every process; a layer that no image reached is
        left out.
    """
    found: dict[str, Tensor] = {}
    modules = dict(model.quant_layers())
    handles = [
        modules[name].register_forward_pre_hook(_watch(name, found), with_kwargs=True)
        for name in layers
    ]
    try:
        for _, batch in batches:
            model.test_step(batch)
    finally:
        for handle in handles:
            handle.remove()
    return _largest(all_gather_object({name: x.cpu() for name, x in found.items()}))


@torch.no_grad()
def channel_statistics(
    model: QuantModel, layers: Collection[str], batches: Batches
) -> dict[str, StreamingStatistics]:
    """Statistics of each channel that linear layers read, divided as they divide it.

    Args:
        model: Prepared; its quantizers stay as they are.
        layers: Names of linear layers; all calls of a layer count together.
        batches: ``(position, collated batch)`` of this process.

    Returns:
        Layer -> statistics, the same on every process; a layer that no image reached is left out.

    Raises:
        NumericalError: NaN or Inf in an activation.
    """
    modules: dict[str, Any] = dict(model.quant_layers())
    found = {name: ChannelStatistics(modules[name].weight.shape[1], -1) for name in sorted(layers)}
    position = 0

    def watch(name: str) -> Callable[..., None]:
        def hook(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            read = read_by(args, kwargs)
            if read is not None:
                found[name].update(layer.divided(read), position)

        return hook

    handles = [
        modules[name].register_forward_pre_hook(watch(name), with_kwargs=True) for name in found
    ]
    try:
        for position, batch in batches:  # noqa: B007
            model.test_step(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: stats for name, stats in merge_processes(found).items() if stats.count}


def _watch(name: str, found: dict[str, Tensor]) -> Callable[..., None]:
    def hook(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        read = read_by(args, kwargs)
        if read is not None and read.numel():
            x = layer.divided(read).abs()
            # Before the axes of space, of which a matrix has none.
            channels = x.movedim(1 - layer.weight.dim(), 0).flatten(1).amax(1)
            found[name] = channels.maximum(found[name]) if name in found else channels

    return hook


def _largest(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    merged: dict[str, Tensor] = {}
    for part in parts:
        for name, x in part.items():
            merged[name] = x.maximum(merged[name]) if name in merged else x
    return merged
