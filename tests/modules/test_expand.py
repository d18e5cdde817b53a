"""The expanded form of a model, and back."""

import pytest
import torch
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d
from torch import nn

from mmptq.modules import expand_modules, expanded_modules, quantized_class


def build() -> nn.Module:
    torch.manual_seed(0)
    shared = ConvWS2d(3, 3, 3, padding=1)
    return nn.Sequential(shared, nn.ReLU(), shared, ConvAWS2d(3, 4, 1), nn.Conv2d(4, 4, 1))


def test_in_the_context_only() -> None:
    model, x = build(), torch.randn(1, 3, 5, 5)
    before, expected = list(model), model(x)
    with expanded_modules(model):
        assert [type(m) for m in model] == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.Conv2d, nn.Conv2d]
        assert model[0] is model[2] and model[4] is before[4]
        assert all(quantized_class(model[i]) for i in (0, 2, 3, 4))
        assert torch.equal(model(x), expected)
    assert list(model) == before and model[0] is model[2]


def test_also_when_it_fails_inside() -> None:
    model = build()
    before = list(model)
    with pytest.raises(KeyError), expanded_modules(model):
        raise KeyError
    assert list(model) == before


def test_only_the_layers_that_are_named() -> None:
    model = build()
    pairs = expand_modules(model, ["3"])
    assert [type(old) for old, _ in pairs] == [ConvAWS2d]
    assert type(model[0]) is ConvWS2d and type(model[3]) is nn.Conv2d
    assert expand_modules(model, []) == []
