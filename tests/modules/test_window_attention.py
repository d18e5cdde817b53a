"""Swin's window attention, expanded, against MMDetection's, bit for bit."""

from typing import Any

import pytest
import torch
from mmdet.models.backbones.swin import ShiftWindowMSA, WindowMSA
from torch import nn

from mmptq.modules import ExpandedWindowMSA, expand_modules, expanded_modules
from tests.modules.test_multihead import quantize_all


def window_attention(**kwargs: Any) -> WindowMSA:
    torch.manual_seed(0)
    module = WindowMSA(8, num_heads=2, window_size=(3, 3), **kwargs).eval()
    nn.init.normal_(module.relative_position_bias_table)
    return module


@pytest.mark.parametrize("kwargs", [{}, {"qkv_bias": False}, {"qk_scale": 0.3}])
@pytest.mark.parametrize("masked", [True, False])
@torch.no_grad()
def test_it_is_mmdetections(kwargs: dict[str, Any], masked: bool) -> None:
    original = window_attention(**kwargs)
    x = torch.randn(8, 9, 8)
    mask = torch.where(torch.randn(4, 9, 9) > 0.5, -100.0, 0.0) if masked else None
    assert torch.equal(ExpandedWindowMSA.from_float(original)(x, mask), original(x, mask))


@pytest.mark.parametrize("shift", [0, 1])
def test_shifted_windows_and_their_gradients(shift: int) -> None:
    torch.manual_seed(0)
    model = ShiftWindowMSA(8, num_heads=2, window_size=3, shift_size=shift).eval()
    x = torch.randn(2, 7 * 8, 8, requires_grad=True)
    expected = model(x, (7, 8))
    (grad,) = torch.autograd.grad(expected.square().sum(), x)
    with expanded_modules(model):
        assert isinstance(model.w_msa, ExpandedWindowMSA)
        found = model(x, (7, 8))
        assert torch.equal(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], grad)
    assert isinstance(model.w_msa, WindowMSA)


def test_parameters_buffers_and_modules_are_shared() -> None:
    original = window_attention()
    expanded = ExpandedWindowMSA.from_float(original)
    assert dict(expanded.named_parameters()) == dict(original.named_parameters())
    assert dict(expanded.named_buffers()) == dict(original.named_buffers())
    assert list(expanded.state_dict()) == list(original.state_dict())
    assert "product" not in original._modules and expanded.qkv is original.qkv


@torch.no_grad()
def test_sixteen_bits_are_nearly_float() -> None:
    model = nn.ModuleDict({"attn": window_attention()})
    x = torch.randn(4, 9, 8)
    expected = model["attn"](x)
    expand_modules(model)
    quantize_all(model, 16)
    assert 0 < float((model["attn"](x) - expected).norm() / expected.norm()) < 1e-3
