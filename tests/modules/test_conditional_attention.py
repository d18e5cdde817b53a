"""Conditional DETR's attention in its expanded form against MMDetection's own."""

from typing import Any

import pytest
import torch
from mmdet.models.layers.transformer.utils import ConditionalAttention
from torch import Tensor, nn

from mmptq.models import quantizable_layers
from mmptq.modules import ExpandedConditionalAttention, expand_modules, expanded_modules

QUERIES, KEYS, SIZE, HEADS = 5, 7, 16, 4


def build(cross: bool) -> tuple[ConditionalAttention, dict[str, Any]]:
    torch.manual_seed(0)
    attention = ConditionalAttention(SIZE, HEADS, cross_attn=cross, attn_drop=0.1).eval()
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.4)
    query, key = torch.randn(2, QUERIES, SIZE), torch.randn(2, KEYS, SIZE)
    args = dict(query=query, key=query, query_pos=torch.randn(2, QUERIES, SIZE))
    if cross:
        sine = torch.randn(2, QUERIES, SIZE)
        args |= dict(key=key, key_pos=torch.randn(2, KEYS, SIZE), ref_sine_embed=sine)
    return attention, args


def masks(length: int) -> dict[str, dict[str, Tensor]]:
    hidden = torch.rand(QUERIES, length) < 0.3
    padding = torch.zeros(2, length, dtype=torch.bool)
    padding[1, -2:] = True
    added = torch.randn(2 * HEADS, QUERIES, length)
    return {
        "none": {},
        "bool": dict(attn_mask=hidden),
        "byte": dict(attn_mask=hidden.byte()),
        "added": dict(attn_mask=added),
        "padding": dict(key_padding_mask=padding),
        "both": dict(attn_mask=added, key_padding_mask=padding),
    }


@pytest.mark.filterwarnings("ignore:Byte tensor")
@pytest.mark.parametrize("cross", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("mask", masks(1))
@torch.no_grad()
def test_it_computes_the_same_bit_for_bit(cross: bool, first: bool, mask: str) -> None:
    attention, args = build(cross)
    args |= masks(KEYS if cross else QUERIES)[mask]
    expected = attention(**args, is_first=first)
    model = nn.Sequential(attention)
    with expanded_modules(model):
        assert isinstance(model[0], ExpandedConditionalAttention) and not model[0].training
        assert torch.equal(model[0](**args, is_first=first), expected)
    assert model[0] is attention


@torch.no_grad()
def test_the_weights_it_returns() -> None:
    attention, _ = build(False)
    q, k, v = (torch.randn(2, n, SIZE) for n in (QUERIES, KEYS, KEYS))
    expected = attention.forward_attn(q, k, v)
    (pair,) = expand_modules(nn.Sequential(attention))
    for got, wanted in zip(pair[1].forward_attn(q, k, v), expected, strict=True):
        assert torch.equal(got, wanted)


def test_both_products_have_operands() -> None:
    model = nn.Sequential(build(True)[0])
    assert not any("product" in name for name in quantizable_layers(model))
    with expanded_modules(model):
        names = {name for name in quantizable_layers(model) if "product" in name}
    assert names == {f"0.product.{part}" for part in ("query", "key", "probs", "value")}
