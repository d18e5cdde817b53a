"""Scaled layers compute the same; factors by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmptq.algorithms.equalization.scaling import Scaling, balancing_factor
from mmptq.modules import in_channels, out_channels, to_quantized

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv": (nn.Conv2d(4, 6, 3), (2, 4, 9, 9)),
    "no_bias": (nn.Conv2d(4, 6, 3, bias=False), (2, 4, 9, 9)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 9, 9)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), (2, 4, 9, 9)),
    "conv_1d": (nn.Conv1d(4, 6, 3, groups=2), (2, 4, 9)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 9, 9)),
    "transposed_grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 9, 9)),
    "transposed_depthwise": (nn.ConvTranspose2d(4, 8, 3, groups=4), (2, 4, 9, 9)),
    "linear": (nn.Linear(7, 5), (2, 3, 7)),
}


def along(factor: Tensor, x: Tensor, layer: Any) -> Tensor:
    return factor.view(-1, *[1] * (layer.weight.dim() - 2)).expand(x.shape)


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_factors_on_both_sides_cancel(name: str) -> None:
    original, shape = LAYERS[name]
    x, layer = torch.randn(shape), to_quantized(original)
    expected = layer(x).clone()
    before = [p.clone() for p in layer.parameters()]
    ins, outs = (torch.rand(n(layer)) * 3 + 0.2 for n in (in_channels, out_channels))
    scaling = Scaling({"a": layer})
    for factor in (ins * 2, torch.full_like(ins, 0.5)):
        scaling.multiply_inputs("a", factor.double())
    scaling.divide_outputs("a", outs.double())
    assert torch.equal(layer(x), expected)  # nothing is written yet
    scaling.write()
    y = layer(x / along(ins, x, layer))
    torch.testing.assert_close(y * along(outs, y, layer), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), before, strict=True):
            parameter.copy_(value)


def test_ranges_of_a_grouped_convolution() -> None:
    layer = to_quantized(nn.Conv2d(4, 2, 1, groups=2))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.0]])[..., None, None])
    scaling = Scaling({"a": layer})
    assert scaling.output_range("a").tolist() == [2.0, 3.0]
    assert scaling.input_range("a").tolist() == [1.0, 2.0, 3.0, 0.0]


def test_factors_by_hand() -> None:
    a, b = torch.tensor([4.0, 1.0, 0.0, 2.0]), torch.tensor([1.0, 16.0, 1.0, 0.0])
    assert balancing_factor(a, b, 0.5).tolist() == [2.0, 0.25, 1.0, 1.0]
    assert balancing_factor(a, b, 1.0).tolist() == [4.0, 1.0, 1.0, 1.0]
    assert balancing_factor(a, b, 0.0).tolist() == [1.0, 0.0625, 1.0, 1.0]
