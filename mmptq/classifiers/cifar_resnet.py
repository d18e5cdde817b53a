"""The ResNet for 32 x 32 images (He et al. 2016, section 4.2)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmptq.classifiers.base import ImageClassifier
from mmptq.errors import ConfigError
from mmptq.modules import Operand
from mmptq.registry import MODELS

WIDTHS = (16, 32, 64)


@MODELS.register_module()
class CifarResNet(ImageClassifier):
    """Three stages of 16, 32 and 64 channels, ``6 n + 2`` layers, shortcuts without parameters.

    Args:
        depth: 20, 32, 44, 56, 110, ...
        num_classes: Number of classes.
        data_preprocessor: As for MMEngine's ``BaseModel``.

    Raises:
        ConfigError: A depth that is not ``6 n + 2``.
    """

    image_size = 32

    def __init__(
        self, depth: int = 20, num_classes: int = 10, data_preprocessor: Any = None
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if not isinstance(depth, int) or depth < 8 or (depth - 2) % 6:
            raise ConfigError(f"model.depth = {depth!r}: must be 6 n + 2, such as 20 or 56")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], blocks)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], blocks)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], blocks)
        self.linear = nn.Linear(WIDTHS[2], num_classes)
        self.apply(_initialise)

    def logits(self, images: Tensor) -> Tensor:
        """``(N, C)`` of ``(N, 3, H, W)``."""
        x = F.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


class CifarBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    The shortcut reads the input through an operand of its own, so that the addition gets the tensor
    as quantized as the convolution does.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: Of the first convolution and the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = Operand()
        self.stride, self.added = stride, channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels, H, W)`` to ``(N, channels, H / stride, W / stride)``."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self._match(self.shortcut(x)))

    def _match(self, x: Tensor) -> Tensor:
        """Every ``stride``-th pixel, with channels of zeros before and behind (option A)."""
        if self.stride == 1 and self.added == 0:
            return x
        before = self.added // 2
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, before, self.added - before))


def _stage(in_channels: int, channels: int, blocks: int) -> nn.Sequential:
    first = CifarBlock(in_channels, channels, 1 if in_channels == channels else 2)
    return nn.Sequential(first, *(CifarBlock(channels, channels, 1) for _ in range(blocks - 1)))


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
