"""Expanded attention of timm and mmpretrain against theirs, or against what they compute."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.modules import (
    ExpandedMmpretrainAttention,
    ExpandedTimmAttention,
    expand_modules,
    expanded_modules,
)
from mmptq.modules.expand import EXPANDED
from tests.modules.test_multihead import quantize_all

DIM, HEADS, COUNT, LENGTH = 12, 3, 2, 5


class TimmAttention(nn.Module):
    """What timm's computes, for where timm is not installed."""

    def __init__(self, fused: bool, gated: bool = False, norms: bool = False) -> None:
        super().__init__()
        self.num_heads, self.scale, self.fused_attn = HEADS, 0.5, fused
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.gate = nn.Linear(DIM, DIM) if gated else None
        self.q_norm, self.k_norm = (
            nn.LayerNorm(DIM // HEADS) if norms else nn.Identity() for _ in range(2)
        )
        self.norm = nn.LayerNorm(DIM) if norms else nn.Identity()
        self.attn_drop, self.proj_drop = nn.Dropout(0.0), nn.Dropout(0.0)

    def forward(self, x: Tensor, attn_mask: Any = None, is_causal: bool = False) -> Tensor:
        gate = None if self.gate is None else torch.sigmoid(self.gate(x))
        count, length, _ = x.shape
        qkv = self.qkv(x).reshape(count, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        q, k, v = self.q_norm(qkv[0]), self.k_norm(qkv[1]), qkv[2]
        if self.fused_attn:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask, is_causal=is_causal)
        else:
            scores = (q * self.scale) @ k.transpose(-2, -1)
            if is_causal:
                later = torch.ones(length, length, dtype=torch.bool).triu(1)
                scores = scores.masked_fill(later, -math.inf)
            elif attn_mask is not None:
                if attn_mask.dtype == torch.bool:
                    attn_mask = torch.where(attn_mask, 0.0, -math.inf)
                scores = scores + attn_mask
            out = scores.softmax(-1) @ v
        out = self.norm(out.transpose(1, 2).reshape(count, length, DIM))
        return self.proj(out if gate is None else out * gate)


class MmpretrainAttention(nn.Module):
    """What mmpretrain's computes, for where mmpretrain is not installed."""

    def __init__(self, v_shortcut: bool = False) -> None:
        super().__init__()
        self.num_heads, self.attn_drop, self.v_shortcut = HEADS, 0.0, v_shortcut
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.proj_drop, self.out_drop, self.gamma1 = (nn.Identity() for _ in range(3))
        self.scaled_dot_product_attention: Any = F.scaled_dot_product_attention

    def forward(self, x: Tensor) -> Tensor:
        count, length, _ = x.shape
        qkv = self.qkv(x).reshape(count, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        out = self.scaled_dot_product_attention(*qkv)
        out = self.proj(out.transpose(1, 2).reshape(count, length, DIM))
        return qkv[2].squeeze(1) + out if self.v_shortcut else out


def tokens() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(COUNT, LENGTH, DIM)


def real_timm(**kwargs: Any) -> nn.Module:
    layers = pytest.importorskip("timm.layers", exc_type=Exception, reason="timm is not installed")
    torch.manual_seed(0)
    return layers.Attention(DIM, HEADS, qkv_bias=True, norm_layer=nn.LayerNorm, **kwargs).eval()


@pytest.mark.parametrize("mask", [None, "bool", "additive", "causal"])
@pytest.mark.parametrize("kwargs", [{}, {"gated": True}, {"norms": True}])
@pytest.mark.parametrize("fused", [True, False])
@torch.no_grad()
def test_what_timm_computes(fused: bool, kwargs: dict[str, Any], mask: str | None) -> None:
    x = tokens()
    original = TimmAttention(fused, **kwargs).eval()
    same_bits(original, x, mask)


@pytest.mark.parametrize("mask", [None, "bool", "additive", "causal"])
@pytest.mark.parametrize("kwargs", [{}, {"gated": True}, {"qk_norm": True, "scale_norm": True}])
@pytest.mark.parametrize("fused", [True, False])
@torch.no_grad()
def test_timms_own(fused: bool, kwargs: dict[str, Any], mask: str | None) -> None:
    original: Any = real_timm(**kwargs)
    original.fused_attn = fused
    assert f"{type(original).__module__}.{type(original).__name__}" in EXPANDED
    same_bits(original, tokens(), mask)


def same_bits(original: nn.Module, x: Tensor, mask: str | None) -> None:
    read = torch.rand(LENGTH, LENGTH) > 0.3
    read.fill_diagonal_(True)
    masks = {"bool": read, "additive": torch.randn(LENGTH, LENGTH)}
    kwargs: dict[str, Any] = {"is_causal": True} if mask == "causal" else {}
    if mask in masks:
        kwargs["attn_mask"] = masks[mask]
    expanded = ExpandedTimmAttention.from_float(original)
    assert torch.equal(expanded(x, **kwargs), original(x, **kwargs))
    with torch.enable_grad():  # then the probabilities are computed, by other operations
        found = expanded(x, **kwargs)
    torch.testing.assert_close(found, original(x, **kwargs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, LENGTH])
@torch.no_grad()
def test_what_mmpretrain_computes(length: int) -> None:
    x, original = tokens()[:, :length], MmpretrainAttention().eval()
    assert torch.equal(ExpandedMmpretrainAttention.from_float(original)(x), original(x))


@torch.no_grad()
def test_mmpretrains_own() -> None:
    attention = pytest.importorskip(
        "mmpretrain.models.utils.attention", exc_type=Exception, reason="needs mmpretrain"
    )
    original = attention.MultiheadAttention(DIM, HEADS, layer_scale_init_value=0.1).eval()
    model = nn.ModuleDict({"attn": original})
    x = tokens()
    expected = original(x)
    with expanded_modules(model):
        assert isinstance(model["attn"], ExpandedMmpretrainAttention)
        assert torch.equal(model["attn"](x), expected)
    assert not ExpandedMmpretrainAttention.handles(
        attention.MultiheadAttention(DIM, HEADS, qk_scale=0.1)
    )


def test_only_the_kernel_of_torch_is_known() -> None:
    original = MmpretrainAttention()
    assert ExpandedMmpretrainAttention.handles(original)
    original.scaled_dot_product_attention = lambda q, k, v: v
    assert not ExpandedMmpretrainAttention.handles(original)


@pytest.mark.parametrize("kind", ["timm", "timm fused", "mmpretrain"])
@torch.no_grad()
def test_sixteen_bits_are_nearly_float(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = {TimmAttention: ExpandedTimmAttention, MmpretrainAttention: ExpandedMmpretrainAttention}
    for original, form in forms.items():
        monkeypatch.setitem(EXPANDED, f"{__name__}.{original.__name__}", form)
    torch.manual_seed(0)
    attn = MmpretrainAttention() if kind == "mmpretrain" else TimmAttention("fused" in kind)
    model, x = nn.ModuleDict({"attn": attn.eval()}), tokens()
    expected = model["attn"](x)
    assert len(expand_modules(model)) == 1
    quantize_all(model, 16)
    assert 0 < float((model["attn"](x) - expected).norm() / expected.norm()) < 1e-3
