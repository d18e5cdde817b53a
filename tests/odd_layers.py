"""A small network of layers that are no plain convolutions or linear layers."""

import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm


class OddLayers(nn.Module):
    """Logits ``(N, 5)`` of images; every layer has a quantized form, some once it is prepared."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv2dAdaptivePadding(3, 8, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.body = nn.Sequential(
            nn.Sequential(ConvWS2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU()),
            nn.Sequential(DeformConv2dPack(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            nn.Sequential(
                ModulatedDeformConv2dPack(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
            ),
            nn.Sequential(nn.ConvTranspose2d(8, 6, 2, stride=2), nn.BatchNorm2d(6), nn.ReLU()),
            nn.Sequential(nn.ConvTranspose2d(6, 4, 2, groups=2, bias=False), nn.BatchNorm2d(4)),
            ConvAWS2d(4, 8, 3, stride=2),
            parametrizations.weight_norm(nn.Conv2d(8, 8, 3)),
        )
        self.fc = spectral_norm(nn.Linear(8, 5))

    def forward(self, images: Tensor) -> Tensor:
        x = self.body(torch.relu(self.norm(self.stem(images))))
        return self.fc(x.mean((2, 3)))
