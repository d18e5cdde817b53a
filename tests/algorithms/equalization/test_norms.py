"""Which layer norms can be rewritten."""

import pytest
import torch
from torch import nn

from mmptq.algorithms.equalization.norms import norm_groups
from mmptq.modules import replace_module
from tests.calibration_support import W4A4
from tests.transformer_support import MakeTransformer, make_transformer

__all__ = ["make_transformer"]


def test_of_a_vision_transformer(make_transformer: MakeTransformer) -> None:
    """Both of each block; the last one's output is averaged before a layer reads it."""
    groups = norm_groups(make_transformer("vit"))
    expected = [
        (f"blocks.{i}.{norm}", (f"blocks.{i}.{reader}",), False)
        for i in (0, 1)
        for norm, reader in (("norm1", "attn.in_proj"), ("norm2", "fc1"))
    ]
    assert groups == expected


def test_of_swin(make_transformer: MakeTransformer) -> None:
    """Windows are padded behind the first norm of a block; merging of patches reads one, too."""
    groups = {group.norm: group for group in norm_groups(make_transformer("swin"))}
    block = "backbone.stages.0.blocks.0"
    assert groups[f"{block}.norm1"].padded and not groups[f"{block}.norm2"].padded
    assert groups[f"{block}.norm1"].readers == (f"{block}.attn.w_msa.qkv",)
    assert "backbone.stages.0.downsample.norm" in groups
    assert "backbone.norm1" not in groups


def test_of_pvt(make_transformer: MakeTransformer) -> None:
    """Convolutions read all norms but one: where keys are not reduced, attention alone reads it."""
    block = "backbone.layers.1.1.1"
    expected = [(f"{block}.norm1", (f"{block}.attn.attn.in_proj",), False)]
    assert norm_groups(make_transformer("pvt")) == expected


@pytest.mark.parametrize("pattern", ["blocks.0.fc1", "*.attn.in_proj"])
def test_readers_in_float_are_left_out(make_transformer: MakeTransformer, pattern: str) -> None:
    overrides = [dict(pattern=pattern, act=None)]
    groups = norm_groups(make_transformer("vit", qconfig={**W4A4, "overrides": overrides}))
    assert len(groups) == (3 if "fc1" in pattern else 2)


def test_a_norm_without_factors_is_left_out(make_transformer: MakeTransformer) -> None:
    context = make_transformer("vit")
    model = context.model.model
    norm = model.get_submodule("blocks.0.norm1")
    plain = nn.LayerNorm(norm.normalized_shape, elementwise_affine=False)
    replace_module(model, norm, plain)
    assert "blocks.0.norm1" not in {group.norm for group in norm_groups(context)}
    with torch.no_grad():  # a pass leaves no hooks behind
        assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
