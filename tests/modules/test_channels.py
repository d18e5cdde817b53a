"""Channels of weights, against what a layer computes from one channel alone."""

import pytest
import torch
from torch import nn

from mmptq.modules import channels_first, in_channels, inputs_first, out_channels

LAYERS: dict[str, nn.Module] = {
    "conv": nn.Conv2d(4, 6, 3),
    "grouped": nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": nn.Conv2d(4, 8, 3, groups=4),
    "transposed": nn.ConvTranspose2d(4, 6, 3),
    "transposed_grouped": nn.ConvTranspose2d(4, 6, 3, groups=2),
    "conv_1d": nn.Conv1d(4, 6, 3, groups=2),
    "linear": nn.Linear(4, 6),
}


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_without_its_weights_a_channel_has_no_effect(name: str) -> None:
    layer = LAYERS[name]
    assert in_channels(layer) == 4 and out_channels(layer) == layer(_images(layer)).shape[1]
    for channel in range(4):
        x = _images(layer)
        weight = layer.weight.clone()
        rows = inputs_first(layer, weight.clone())
        rows[channel] = 0.0
        layer.weight.copy_(inputs_first(layer, rows))
        y = layer(x)
        x[:, channel] += 1.0
        assert torch.equal(layer(x), y)
        layer.weight.copy_(weight)
        assert not torch.equal(layer(x), y)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("first", [channels_first, inputs_first])
def test_applied_twice_nothing_changes(name: str, first) -> None:
    layer = LAYERS[name]
    assert torch.equal(first(layer, first(layer, layer.weight)), layer.weight)


def _images(layer: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, *[5] * (layer.weight.dim() - 2), generator=generator)
