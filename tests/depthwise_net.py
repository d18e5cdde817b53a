"""A small network with depthwise convolutions whose channels differ by orders of magnitude."""

import torch
from torch import Tensor, nn


class DepthwiseNet(nn.Module):
    """Images ``(N, 3, H, W)`` to scores of five classes.

    ``depthwise`` and ``beside`` read the same tensor: the one channel by channel, the other whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.beside = nn.Conv2d(8, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.multiplied = nn.Conv2d(8, 16, 3, stride=2, groups=8)
        self.up = nn.ConvTranspose2d(16, 16, 2, stride=2, groups=16)
        self.classify = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = nn.functional.silu(self.norm(self.stem(x)))
        x = self.depthwise(x) + self.beside(x)
        x = self.grouped(x.relu())
        x = self.up(self.multiplied(x).relu())
        return self.classify(x.mean(dim=(2, 3)))


def make_net() -> nn.Module:
    """One with random weights, whose stem writes channels of very different size."""
    torch.manual_seed(0)
    net = DepthwiseNet()
    with torch.no_grad():
        net.norm.weight.copy_(10.0 ** torch.linspace(-1.5, 1.5, 8))
        net.depthwise.weight.div_(net.norm.weight[:, None, None, None])
        net.beside.weight.div_(net.norm.weight[None, :, None, None])
    return net
