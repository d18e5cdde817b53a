"""The vision transformer against torch's own encoder layers."""

from typing import Any

import pytest
import torch
from torch import nn

from mmptq.classifiers import VisionTransformer
from mmptq.errors import ConfigError

SIZES = dict(image_size=8, patch_size=4, embed_dims=12, depth=2, num_heads=3, num_classes=5)


@pytest.mark.parametrize("conv_stem", [False, True])
@torch.no_grad()
def test_it_is_torchs_encoder(conv_stem: bool) -> None:
    torch.manual_seed(0)
    model = VisionTransformer(**SIZES, conv_stem=conv_stem).eval()
    images = torch.randn(2, 3, 8, 8)
    x = model.patch_embed(images).flatten(2).mT + model.positions
    for block in model.blocks:
        layer = nn.TransformerEncoderLayer(
            12, 3, 48, activation="gelu", batch_first=True, norm_first=True, layer_norm_eps=1e-6
        ).eval()
        names = {"attn": "self_attn", "fc1": "linear1", "fc2": "linear2"}
        state = {
            ".".join([names.get(key.split(".")[0], key.split(".")[0]), *key.split(".")[1:]]): value
            for key, value in block.state_dict().items()
        }
        layer.load_state_dict(state)
        x = layer(x)
    expected = model.head(model.norm(x).mean(dim=1))
    torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-5)
    assert model(images).shape == (2, 5)


def test_a_patch_is_seen_whole_by_one_token() -> None:
    model = VisionTransformer(**SIZES)
    images = torch.zeros(1, 3, 8, 8)
    before = model.patch_embed(images)
    images[0, :, 4:, :4] = torch.randn(3, 4, 4)
    changed = (model.patch_embed(images) != before).any(dim=1)[0]
    assert changed.tolist() == [[False, False], [True, False]]


def test_the_convolutional_stem_halves_the_image_until_it_has_patches() -> None:
    stem = VisionTransformer(**SIZES, conv_stem=True).patch_embed
    widths = [(m.in_channels, m.out_channels) for m in stem.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [(3, 6), (6, 12), (12, 12)]
    assert stem(torch.zeros(2, 3, 8, 8)).shape == (2, 12, 2, 2)


def test_a_deeper_stem_has_the_same_resolutions() -> None:
    stem = VisionTransformer(**SIZES, conv_stem=True, stem_convs=2).patch_embed
    convs = [m for m in stem.modules() if isinstance(m, nn.Conv2d)]
    widths = [(m.in_channels, m.out_channels, m.stride[0]) for m in convs]
    assert widths == [(3, 6, 2), (6, 6, 1), (6, 12, 2), (12, 12, 1), (12, 12, 1)]
    assert stem(torch.zeros(2, 3, 8, 8)).shape == (2, 12, 2, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(patch_size=3), "model.patch_size = 3: must divide 8"),
        (dict(num_heads=5), "model.num_heads = 5: must divide 12"),
        (dict(image_size=9, patch_size=3, conv_stem=True), "patch_size = 3: with conv_stem"),
        (dict(conv_stem=True, stem_convs=0), "model.stem_convs = 0: must be a whole number from 1"),
        (dict(patch_size=1, conv_stem=True), "patch_size = 1: with conv_stem"),
        (dict(patch_size=8, embed_dims=6, conv_stem=True), "divides embed_dims = 6"),
    ],
)
def test_sizes_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VisionTransformer(**{**SIZES, **changes})
