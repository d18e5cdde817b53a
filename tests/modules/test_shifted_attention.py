"""torchvision's shifted window attention, expanded, against torchvision's, bit for bit.

Where torchvision is not installed, it is compared with MMDetection's, of the same numbers.
"""

from typing import Any

import pytest
import torch
from mmdet.models.backbones.swin import ShiftWindowMSA
from torch import nn

from mmptq.modules import ExpandedShiftedWindowAttention, expand_modules, expanded_modules
from tests.modules.test_multihead import quantize_all

DIM, HEADS, WINDOW = 8, 2, 3


class FunctionalAttention(nn.Module):
    """The attributes of torchvision's."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.window_size, self.shift_size = [WINDOW, WINDOW], [shift, shift]
        self.num_heads, self.attention_dropout, self.dropout = HEADS, 0.0, 0.0
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)


def as_torchvision(model: Any, shift: int) -> nn.Module:
    """MMDetection's attention in the form of torchvision's."""
    new: Any = FunctionalAttention(shift)
    inner = model.w_msa
    new.qkv, new.proj = inner.qkv, inner.proj
    new.relative_position_bias_table = inner.relative_position_bias_table
    new.register_buffer("relative_position_index", inner.relative_position_index.flatten())
    return new.eval()


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", [(7, 8), (6, 9)])
@torch.no_grad()
def test_it_is_swins(size: tuple[int, int], shift: int) -> None:
    torch.manual_seed(0)
    model = ShiftWindowMSA(DIM, num_heads=HEADS, window_size=WINDOW, shift_size=shift).eval()
    nn.init.normal_(model.w_msa.relative_position_bias_table)
    x = torch.randn(2, *size, DIM)
    expanded = ExpandedShiftedWindowAttention.from_float(as_torchvision(model, shift))
    expected = model(x.flatten(1, 2), size).view(x.shape)
    torch.testing.assert_close(expanded(x), expected)


def torchvisions(shift: tuple[int, int]) -> nn.Module:
    swin = pytest.importorskip(
        "torchvision.models.swin_transformer",
        exc_type=Exception,
        reason="needs a torchvision that fits torch",
    )
    torch.manual_seed(0)
    module = swin.ShiftedWindowAttention(DIM, [WINDOW, WINDOW], list(shift), HEADS)
    nn.init.normal_(module.relative_position_bias_table)
    return module.eval()


@pytest.mark.parametrize("shift", [(0, 0), (1, 1), (0, 1), (2, 1)])
@pytest.mark.parametrize("size", [(7, 8), (6, 9), (2, 3), (3, 7)])
def test_torchvisions_own(size: tuple[int, int], shift: tuple[int, int]) -> None:
    model = nn.ModuleDict({"attn": torchvisions(shift)})
    x = torch.randn(2, *size, DIM, requires_grad=True)
    expected = model["attn"](x)
    (grad,) = torch.autograd.grad(expected.square().sum(), x)
    with expanded_modules(model):
        assert isinstance(model["attn"], ExpandedShiftedWindowAttention)
        found = model["attn"](x)
        assert torch.equal(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], grad)


@torch.no_grad()
def test_sixteen_bits_are_nearly_float() -> None:
    model = nn.ModuleDict({"attn": torchvisions((1, 1))})
    x = torch.randn(2, 6, 9, DIM)
    expected = model["attn"](x)
    expand_modules(model)
    quantize_all(model, 16)
    assert 0 < float((model["attn"](x) - expected).norm() / expected.norm()) < 1e-3
