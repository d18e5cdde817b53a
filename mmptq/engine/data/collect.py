"""One pass over the calibration set collects the statistics of every activation."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from mmengine.dist import all_gather_object
from torch import Tensor, nn

from mmptq.engine.data.float_checkpoint import learned_names
from mmptq.engine.data.reach import check_seen, read_by
from mmptq.errors import NumericalError
from mmptq.models import QuantModel
from mmptq.modules import QuantLayer
from mmptq.observers import ChannelStatistics, StreamingStatistics, TensorStatistics
from mmptq.quantizers import UniformQuantizer

Batches = Iterable[tuple[int, dict[str, Any]]]


def collect_statistics(model: QuantModel, batches: Batches) -> dict[str, StreamingStatistics]:
    """Statistics of every site of the *float* model, merged over all processes.

    The quantizers' switches are restored afterwards.

    Args:
        model: Prepared; its quantizers are off during the pass.
        batches: ``(position, collated batch)`` of this process.

    Returns:
        Site name -> statistics, the same on every process.

    Raises:
        NumericalError: NaN or Inf in an activation; names the layer and the image.
        CalibrationDataError: No image reached a layer whose input is to be quantized.
    """
    assert model.plan is not None
    statistics = {name: _empty(quantizer) for name, quantizer in model.sites.items()}
    watch: dict[str, dict[int, StreamingStatistics]] = {}
    for site in model.plan.sites:
        for layer, call in site.watch:
            watch.setdefault(layer, {})[call] = statistics[site.name]
    recorder = _Recorder()
    layers = dict(model.quant_layers())
    handles = [
        layers[name].register_forward_pre_hook(recorder.watch(name, calls), with_kwargs=True)
        for name, calls in watch.items()
    ]
    switches = {quantizer: quantizer.enabled for quantizer in _quantizers(model)}
    model.enable_quantizers(weights=False, activations=False)
    try:
        with torch.no_grad():
            for position, batch in batches:
                recorder.image = position
                model.test_step(batch)
    finally:
        for handle in handles:
            handle.remove()
        for quantizer, enabled in switches.items():
            quantizer.enabled = enabled
    merged = merge_processes(statistics)
    check_seen(model.plan, (name for name, s in merged.items() if s.count == 0))
    return merged


class _Recorder:
    """Hands what a layer reads to the statistics of its site."""

    def __init__(self) -> None:
        self.image = 0

    def watch(self, name: str, calls: dict[int, StreamingStatistics]) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            assert isinstance(layer, QuantLayer)
            read = read_by(args, kwargs)
            if layer.calls not in calls or read is None:
                return
            try:
                calls[layer.calls].update(layer.divided(read), self.image)
            except NumericalError as error:
                raise NumericalError(
                    f"the input of layer {name!r} (call {layer.calls}, calibration image "
                    f"{self.image}) of the float model: {error}; check the checkpoint and the "
                    "data preprocessor"
                ) from error

        return hook


def _quantizers(model: QuantModel) -> list[Any]:
    return [*model.weight_quantizers().values(), *model.sites.values()]


def _empty(quantizer: UniformQuantizer) -> StreamingStatistics:
    """Statistics with a range for each step that ``quantizer`` has."""
    if quantizer.ch_axis is None:
        return TensorStatistics()
    return ChannelStatistics(len(quantizer.scale), quantizer.ch_axis)


def statistics_from(state: Mapping[str, Any]) -> StreamingStatistics:
    """What :meth:`StreamingStatistics.state_dict` returned ``state``."""
    kind = ChannelStatistics if "ch_axis" in state else TensorStatistics
    return kind.from_state_dict(state)


def merge_processes(
    statistics: Mapping[str, StreamingStatistics],
) -> dict[str, StreamingStatistics]:
    """Merging is exact and commutative, so every process ends with the same numbers."""
    states = all_gather_object({name: s.state_dict() for name, s in statistics.items()})
    merged: dict[str, StreamingStatistics] = {}
    for name in statistics:
        parts = [statistics_from(state[name]) for state in states]
        for part in parts[1:]:
            parts[0].merge(part)
        merged[name] = parts[0]
    return merged


def check_activations(model: QuantModel, batches: Batches) -> None:
    """Look for NaN and Inf in the float model on the first image, before any long work.

    Args:
        model: Not prepared yet.
        batches: As in :func:`collect_statistics`, which checks all of them later.

    Raises:
        NumericalError: A convolution or linear layer reads one; names the first in the order of
            computation.
    """

    def watch(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            read = read_by(args, kwargs)
            if read is not None and not bool(read.isfinite().all()):
                bad = int((~read.isfinite()).sum())
                raise NumericalError(
                    f"the input of layer {name!r} of the float model holds {bad} NaN or Inf values "
                    "on the first calibration image; check the checkpoint and the data preprocessor"
                )

        return hook

    handles = [
        layer.register_forward_pre_hook(watch(name), with_kwargs=True)
        for name, layer in model.model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    try:
        with torch.no_grad():
            for _, batch in itertools.islice(batches, 1):
                model.test_step(batch)
    finally:
        for handle in handles:
            handle.remove()


def check_weights(model: nn.Module) -> None:
    """Make sure that no weight is broken: no NaN anywhere, no Inf in what was learned.

    Another buffer is a constant of the architecture, and an attention mask is one of -inf.

    Raises:
        NumericalError: A tensor is broken; names it.
    """
    learned = learned_names(model)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        broken = ~tensor.isfinite() if name in learned else tensor.isnan()
        if bool(broken.any()):
            raise NumericalError(
                f"{name} holds {int(broken.sum())} NaN or Inf values; the float checkpoint is broken"
            )
