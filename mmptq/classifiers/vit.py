"""A vision transformer (Dosovitskiy et al. 2021)."""

from typing import Any

import torch
from torch import Tensor, nn

from mmptq.classifiers.base import ImageClassifier
from mmptq.errors import ConfigError
from mmptq.registry import MODELS


@MODELS.register_module()
class VisionTransformer(ImageClassifier):
    """Patches, learned positions, blocks that normalise first, and the mean over the tokens.

    The mean takes the place of a class token, which learns more slowly (Beyer et al. 2022, "Better
    plain ViT baselines for ImageNet-1k").

    Args:
        image_size: Side of the images.
        patch_size: Side of a patch; it divides ``image_size``.
        embed_dims: Length of a token; ``num_heads`` divides it.
        depth: Number of blocks.
        num_heads: Of each block's attention.
        mlp_ratio: Width of a block's hidden layer, in tokens.
        conv_stem: Patches by convolutions of stride 2, with norms, in place of one large one (Xiao
            et al. 2021, "Early convolutions help transformers see better"); it needs fewer images,
            and a ``patch_size`` that is a power of 2.
        stem_convs: Of ``conv_stem``: convolutions at each resolution, the first of which halves it.
        num_classes: Number of classes.
        data_preprocessor: As for MMEngine's ``BaseModel``.

    Raises:
        ConfigError: Sizes that do not fit each other.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        embed_dims: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        mlp_ratio: float = 4.0,
        conv_stem: bool = False,
        stem_convs: int = 1,
        num_classes: int = 1000,
        data_preprocessor: Any = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if image_size % patch_size:
            raise ConfigError(f"model.patch_size = {patch_size!r}: must divide {image_size}")
        if embed_dims % num_heads:
            raise ConfigError(f"model.num_heads = {num_heads!r}: must divide {embed_dims}")
        self.image_size = image_size
        self.patch_embed: nn.Module
        if conv_stem:
            self.patch_embed = _conv_stem(patch_size, embed_dims, stem_convs)
        else:
            self.patch_embed = nn.Conv2d(3, embed_dims, patch_size, patch_size)
        tokens = (image_size // patch_size) ** 2
        self.positions = nn.Parameter(torch.zeros(1, tokens, embed_dims))
        hidden = int(embed_dims * mlp_ratio)
        self.blocks = nn.Sequential(
            *(TransformerBlock(embed_dims, num_heads, hidden) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.head = nn.Linear(embed_dims, num_classes)
        self.apply(_initialise)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def logits(self, images: Tensor) -> Tensor:
        """``(N, C)`` of ``(N, 3, image_size, image_size)``."""
        x = self.patch_embed(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(x)).mean(dim=1))


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each on the normalised input, each added to it.

    Args:
        embed_dims: Length of a token.
        num_heads: Of the attention.
        hidden_dims: Width of the perceptron's hidden layer.
    """

    def __init__(self, embed_dims: int, num_heads: int, hidden_dims: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, batch_first=True)
        self.norm2 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dims, embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, L, E)`` to the same."""
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


def _conv_stem(patch_size: int, embed_dims: int, stem_convs: int) -> nn.Sequential:
    """As many stages as halve the image to patches, each doubling the channels, and a 1x1."""
    count = patch_size.bit_length() - 1
    if patch_size != 2**count or count < 1 or embed_dims % 2 ** (count - 1):
        raise ConfigError(
            f"model.patch_size = {patch_size!r}: with conv_stem a power of 2, from 2, half of "
            f"which divides embed_dims = {embed_dims}"
        )
    if stem_convs < 1:
        raise ConfigError(f"model.stem_convs = {stem_convs!r}: must be a whole number from 1")
    widths = [3, *(embed_dims // 2**n for n in range(count - 1, -1, -1))]
    layers: list[nn.Module] = []
    for i in range(count):
        for n in range(stem_convs):
            inputs, stride = (widths[i + 1], 1) if n else (widths[i], 2)
            conv = nn.Conv2d(inputs, widths[i + 1], 3, stride=stride, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(widths[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(embed_dims, embed_dims, 1))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
