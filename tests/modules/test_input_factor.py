"""A layer that divides its input by a factor per channel."""

import pytest
import torch
from torch import nn

from mmptq.modules import QuantLayer, to_quantized
from mmptq.quantizers import UniformQuantizer

FACTOR = torch.tensor([0.5, 1.0, 2.0, 4.0])
LAYERS = {
    "conv": (nn.Conv2d(4, 3, 1), (2, 4, 5, 5)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
    "linear": (nn.Linear(4, 3), (2, 7, 4)),
}


def quantized(name: str) -> tuple[QuantLayer, torch.Tensor]:
    layer, shape = LAYERS[name]
    return to_quantized(layer), torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_the_quotient_is_quantized(name: str) -> None:
    layer, x = quantized(name)
    reader = UniformQuantizer(4, symmetric=False)
    reader.set_range(torch.tensor(-1.0), torch.tensor(2.0))
    quotient = x / (FACTOR.view(-1, 1, 1) if x.dim() == 4 else FACTOR)
    expected = layer(reader(quotient))
    layer.bind_inputs([reader])
    layer.set_input_factor(FACTOR)
    assert torch.equal(layer(x), expected)
    layer.set_input_factor(None)
    assert torch.equal(layer.divided(x), x)


def test_the_state_decides() -> None:
    layer, _ = quantized("conv")
    assert "input_factor" not in layer.state_dict()
    plain = layer.state_dict()
    layer.set_input_factor(FACTOR)
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    fresh, _ = quantized("conv")
    fresh.load_state_dict(state)
    assert fresh.input_factor is not None and torch.equal(fresh.input_factor, FACTOR)
    fresh.load_state_dict(plain)
    assert fresh.input_factor is None and "input_factor" not in fresh.state_dict()


def test_the_fingerprint_follows() -> None:
    layer, _ = quantized("conv")
    prints = [layer.fingerprint(0)]
    layer.set_input_factor(FACTOR)
    prints.append(layer.fingerprint(0))
    assert layer.input_factor is not None
    layer.input_factor.mul_(2)
    prints.append(layer.fingerprint(0))
    assert len(set(prints)) == 3
