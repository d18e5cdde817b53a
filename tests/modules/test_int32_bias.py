"""Biases as integers of the accumulator: against sums of integers, by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmptq.modules import to_quantized
from mmptq.quantizers import AdaptiveRoundingQuantizer, UniformQuantizer


def make(layer: nn.Module, bits: int = 4, rounds: bool = True) -> tuple[Any, UniformQuantizer]:
    quantized: Any = to_quantized(layer)
    weight = UniformQuantizer(bits, ch_axis=0, num_channels=len(quantized.weight))
    rows = quantized.weight.detach().flatten(1)
    weight.set_range(rows.amin(1), rows.amax(1))
    quantized.weight_quantizer = weight
    reader = UniformQuantizer(bits, symmetric=False)
    reader.set_range(torch.tensor(-1.0), torch.tensor(2.0))
    quantized.input_quantizers.append(reader)
    quantized.bind_inputs([reader])
    quantized.int32_bias = frozenset({0, 1} if rounds else ())
    return quantized, reader


@pytest.mark.parametrize("correction", [False, True])
@torch.no_grad()
def test_the_layer_is_a_sum_of_integers(correction: bool) -> None:
    layer, reader = make(nn.Conv2d(3, 5, 1))
    bias = layer.bias.double()
    if correction:
        layer.set_bias_correction(torch.linspace(-1, 1, 5))
        bias = (layer.bias + layer.bias_correction).double()
    x = torch.randn(1, 3, 6, 6)
    codes = (reader.quantize(x) - reader.zero_point).numpy().astype(np.int32)
    weight = layer.weight_quantizer.quantize(layer.weight).numpy().astype(np.int32)
    step = (reader.scale * layer.weight_quantizer.scale).double().numpy()
    whole = np.rint(bias.numpy() / step).astype(np.int32)
    sums = np.einsum("oi,nihw->nohw", weight[..., 0, 0], codes) + whole[:, None, None]
    expected = sums * step[:, None, None]
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-6)
    other = make(nn.Conv2d(3, 5, 1))[0]
    other.load_state_dict(layer.state_dict())
    other.int32_bias = frozenset()
    assert not torch.allclose(other(x), layer(x), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_only_where_an_accumulator_is() -> None:
    x = torch.randn(1, 4, 6, 6)
    for conv in (nn.Conv2d(4, 4, 3, groups=4), nn.ConvTranspose2d(4, 4, 2)):
        (rounding, reader), (plain, _) = make(conv), make(conv, rounds=False)
        assert torch.equal(rounding(x), plain(x)) == isinstance(conv, nn.ConvTranspose2d)
        if isinstance(conv, nn.Conv2d):  # a range per channel has no one step
            by_channel = UniformQuantizer(4, symmetric=False, ch_axis=-3, num_channels=4)
            by_channel.set_range(-torch.ones(4), torch.ones(4))
            for layer in (rounding, plain):
                layer.bind_inputs([by_channel])
            assert torch.equal(rounding(x), plain(x))
    tokens = torch.randn(2, 7, 4)
    (rounding, reader), (plain, _) = make(nn.Linear(4, 3)), make(nn.Linear(4, 3), rounds=False)
    plain.load_state_dict(rounding.state_dict())
    assert torch.equal(rounding(tokens), plain(tokens))
    assert not torch.equal(rounding(tokens[0]), plain(tokens[0]))
    reader.enabled = False
    assert torch.equal(
        rounding(tokens[0]),
        nn.functional.linear(tokens[0], rounding.quantized_weight(), rounding.bias),
    )


@torch.no_grad()
def test_each_call_rounds_by_its_own_step() -> None:
    layer, first = make(nn.Linear(4, 3))
    second = UniformQuantizer(4, symmetric=False)
    second.set_range(torch.tensor(-9.0), torch.tensor(20.0))
    layer.bind_inputs([first, second])
    zeros = torch.zeros(1, 4)
    layer.reset_calls()
    for reader in (first, second):
        step = reader.scale * layer.weight_quantizer.scale
        torch.testing.assert_close(layer(zeros)[0], (layer.bias / step).round() * step)


@torch.no_grad()
def test_a_bias_without_room_stays() -> None:
    layer, _ = make(nn.Linear(4, 3))
    layer.weight_quantizer.scale[1] = 1e-12
    found = layer(torch.zeros(1, 4))[0]
    assert found[1] == layer.bias[1] and found[0] != layer.bias[0]


def test_gradients_pass_the_rounding_by() -> None:
    layer, _ = make(nn.Linear(4, 3))
    x = torch.randn(5, 4, requires_grad=True)
    layer(x).square().sum().backward()
    assert bool(x.grad.isfinite().all()) and float(x.grad.abs().sum()) > 0


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 5, 3), nn.Linear(3, 5)])
@torch.no_grad()
def test_the_same_while_a_rounding_is_learned(layer: nn.Module) -> None:
    quantized, _ = make(layer)
    x = torch.zeros(1, 3, 4, 4) if isinstance(layer, nn.Conv2d) else torch.zeros(1, 3)
    expected = quantized(x)
    weight = quantized.weight_quantizer
    quantized.weight_quantizer = AdaptiveRoundingQuantizer(weight, quantized.weight)
    assert torch.equal(quantized(x), expected)
