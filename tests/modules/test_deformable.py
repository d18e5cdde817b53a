"""Deformable convolutions against mmcv's operators on tensors quantized by hand."""

from typing import Any

import pytest
import torch
from mmcv.ops import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
    deform_conv2d,
    modulated_deform_conv2d,
)
from torch import Tensor, nn

from mmptq.models.fold import fold_pair
from mmptq.modules import ExpandedDeformPack, QuantLayer, expand_modules, to_quantized
from mmptq.quantizers import UniformQuantizer

KINDS = ["plain", "modulated"]
PACKS = {"plain": DeformConv2dPack, "modulated": ModulatedDeformConv2dPack}


def build(kind: str, pack: bool = False) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    sizes: dict[str, Any] = dict(stride=2, padding=1, groups=2, deform_groups=2)
    if pack:
        layer = PACKS[kind](4, 6, 3, **sizes)
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.3)
        return layer.eval(), (torch.randn(2, 4, 9, 9),)
    cls = DeformConv2d if kind == "plain" else ModulatedDeformConv2d
    x, offset, mask = torch.randn(2, 4, 9, 9), torch.randn(2, 36, 5, 5), torch.rand(2, 18, 5, 5)
    return cls(4, 6, 3, **sizes).eval(), (x, offset) if kind == "plain" else (x, offset, mask)


def quantize(layer: QuantLayer) -> tuple[UniformQuantizer, UniformQuantizer]:
    weight = UniformQuantizer(3, ch_axis=0, num_channels=6)
    weight.set_range(-torch.full((6,), 0.875), torch.full((6,), 0.875))
    reader = UniformQuantizer(4, symmetric=False)
    reader.set_range(torch.tensor(-1.25), torch.tensor(2.5))
    layer.weight_quantizer = weight
    layer.bind_inputs([reader])
    return weight, reader


def by_hand(layer: nn.Module, x: Tensor, *rest: Tensor) -> Tensor:
    scale, zeros = torch.full((6,), 0.25), torch.zeros(6, dtype=torch.int32)
    weight = torch.fake_quantize_per_channel_affine(layer.weight, scale, zeros, 0, -4, 3)
    x = torch.fake_quantize_per_tensor_affine(x, 0.25, 5, 0, 15)
    if isinstance(layer, DeformConv2d):
        return deform_conv2d(x, *rest, weight, 2, 1, 1, 2, 2)
    return modulated_deform_conv2d(x, *rest, weight, layer.bias, 2, 1, 1, 2, 2)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_offsets_as_arguments(kind: str) -> None:
    layer, args = build(kind)
    quantized = to_quantized(layer)
    assert torch.equal(quantized(*args), layer(*args))
    quantize(quantized)
    torch.testing.assert_close(quantized(*args), by_hand(layer, *args), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(quantized(*args), layer(*args), atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind: str) -> None:
    layer, args = build(kind)
    # Within the range: at its ends torch's gradient reaches half a step further.
    layer.weight.data.clamp_(-0.7, 0.7)
    args = (args[0].clamp(-1.2, 2.4), *args[1:])
    quantized = to_quantized(layer)
    quantize(quantized)
    args = tuple(x.requires_grad_() for x in args)
    quantized(*args).square().sum().backward()
    got = [quantized.weight.grad.clone(), *(x.grad.clone() for x in args)]
    layer.weight.grad = None
    for x in args:
        x.grad = None
    by_hand(layer, *args).square().sum().backward()
    for a, b in zip(got, [layer.weight.grad, *(x.grad for x in args)], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_norm_folded_into_it(kind: str) -> None:
    layer, args = build(kind)
    norm = nn.BatchNorm2d(6).eval()
    norm.running_mean.normal_()
    norm.bias.normal_()
    expected = norm(layer(*args))
    fold_pair(layer, norm)
    torch.testing.assert_close(to_quantized(layer)(*args), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_pack_is_taken_apart(kind: str) -> None:
    pack, (x,) = build(kind, pack=True)
    expected, names = pack(x), set(pack.state_dict())
    model = nn.Sequential(pack)
    (pair,) = expand_modules(model)
    expanded = model[0]
    assert pair == (pack, expanded) and isinstance(expanded, ExpandedDeformPack)
    assert torch.equal(model(x), expected) and not model[0].training
    assert expanded.deform.weight is pack.weight and expanded.conv_offset is pack.conv_offset
    assert set(pack.state_dict()) == names and torch.equal(pack(x), expected)


@torch.no_grad()
def test_offsets_are_computed_from_the_tensor_as_it_is() -> None:
    pack, (x,) = build("plain", pack=True)
    model = nn.Sequential(pack)
    expand_modules(model)
    model[0].deform = to_quantized(model[0].deform)
    quantize(model[0].deform)
    expected = by_hand(pack, x, pack.conv_offset(x))
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)
