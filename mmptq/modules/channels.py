"""Where the channels of a layer's weight and input are."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd


def channel_axis(layer: nn.Module) -> int:
    """Axis of the weight along which a step per channel leaves every sum on integers.

    A product of codes can be summed before it is scaled only if all its terms have one step. The
    weight of a transposed convolution is ``(in, out / groups, ...)``, and a sum runs over the
    inputs of a group: the axis is 1, with steps that the groups share. Where each group reads one
    channel there is no such sum, and the channels have steps of their own along axis 0; so have the
    rows of a table, ``(in, out)``, of which a lookup reads one.
    """
    if not isinstance(layer, _ConvTransposeNd):
        return 0
    return 0 if layer.groups == layer.in_channels > 1 else 1


def channels_first(layer: nn.Module, weight: Tensor) -> Tensor:
    """``weight`` with the layer's output channels along its first axis; applied twice, itself."""
    return _swapped(layer, weight) if _has_inputs_first(layer) else weight


def inputs_first(layer: nn.Module, weight: Tensor) -> Tensor:
    """``weight`` with the layer's input channels along its first axis; applied twice, itself."""
    return weight if _has_inputs_first(layer) else _swapped(layer, weight)


def _has_inputs_first(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvTransposeNd | nn.Embedding)


def _swapped(layer: Any, weight: Tensor) -> Tensor:
    """Both kinds of channels change places within each group."""
    groups = weight.unflatten(0, (getattr(layer, "groups", 1), -1))
    return groups.transpose(1, 2).flatten(0, 1)


def factor_axis(layer: Any) -> int | None:
    """Axis of the input along which a step per channel leaves every sum on integers.

    Counted from the end. That is so where each output channel reads one input channel, in depthwise
    convolutions: the step is a factor of the whole sum. ``None`` where there is no such axis.
    """
    groups, channels = (getattr(layer, name, 1) for name in ("groups", "in_channels"))
    return 1 - layer.weight.dim() if groups == channels > 1 else None


def out_channels(layer: Any) -> int:
    """How many output channels a layer with a weight has."""
    return channels_first(layer, layer.weight).shape[0]


def in_channels(layer: Any) -> int:
    """How many input channels a layer with a weight has."""
    return inputs_first(layer, layer.weight).shape[0]
