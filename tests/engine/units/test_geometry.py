"""Geometry of units, and outputs on crops against those of the whole map."""

from typing import Any

import pytest
import torch
from mmcv.ops import DeformConv2dPack
from torch import Tensor, nn
from torch.nn import functional as F

from mmptq.engine.units.geometry import FIXED, READS_ALL, VARIES, Axis, find_geometry
from mmptq.engine.units.windows import MAX_CROPS, draw_windows

CPU = torch.device("cpu")
SIZES = [(40, 56), (41, 53), (64, 47), (33, 34)]


class Residual(nn.Module):
    """Two branches of different reach and the same stride."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 6, 3, stride, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.short = nn.Conv2d(4, 6, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return (self.second(self.first(x).relu()) + self.short(x)).relu()


class Focus(nn.Module):
    """YOLOX's first layer: four shifted halves side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
        parts = [x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return F.silu(self.conv(torch.cat(parts, 1)))


class Pyramid(nn.Module):
    """Adds a coarser level, as an FPN does."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.same = nn.Conv2d(4, 6, 3, 2, padding=1), nn.Conv2d(4, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        coarse = F.interpolate(self.down(x), scale_factor=2.0, mode="nearest")
        same = self.same(x)
        return same + coarse[..., : same.shape[-2], : same.shape[-1]]


class Squeeze(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        return (tokens @ (tokens.mT @ tokens).softmax(-1).mT).reshape(x.shape)


class Places(nn.Module):
    """Knows where it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.linspace(0, 1, x.shape[-1])


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4 * 49, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))[..., None, None]


class Resized(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=(20, 20), mode="nearest")


def conv(*args: Any, **kwargs: Any) -> nn.Module:
    return nn.Conv2d(4, 8, *args, **kwargs)


def deformable() -> nn.Module:
    """With offsets that depend on the input a little, as after training."""
    made = DeformConv2dPack(4, 6, 3, padding=1)
    nn.init.normal_(made.conv_offset.weight, std=0.02)
    return made


# Module, and where it is known by hand the axis: period, step, extra, before, after.
LOCAL: dict[str, tuple[nn.Module, Axis | None]] = {
    "pointwise": (conv(1), Axis(1, 1, 0, 0, 0)),
    "3x3": (conv(3, padding=1), Axis(1, 1, 0, 1, 1)),
    "unpadded": (conv(3), Axis(1, 1, -2, 0, 0)),
    "overpadded": (conv(3, padding=2), Axis(1, 1, 2, 2, 2)),
    "stride 2": (conv(3, 2, padding=1), Axis(2, 1, 0, 1, 0)),
    "7x7 stride 2": (conv(7, 2, padding=3), Axis(2, 1, 0, 2, 1)),
    "stride 3": (conv(3, 3), Axis(3, 1, 0, 0, 0)),
    "dilated": (conv(3, padding=2, dilation=2), Axis(1, 1, 0, 2, 2)),
    "grouped": (conv(5, padding=2, groups=2), Axis(1, 1, 0, 2, 2)),
    "depthwise": (conv(3, 2, padding=1, groups=4), Axis(2, 1, 0, 1, 0)),
    "residual": (Residual(1), Axis(1, 1, 0, 2, 2)),
    "residual, stride 2": (Residual(2), Axis(2, 1, 0, 2, 1)),
    "focus": (Focus(), Axis(2, 1, 0, 1, 1)),
    "pyramid": (Pyramid(), None),
    "pooling": (nn.Sequential(conv(3, padding=1), nn.MaxPool2d(3, 2, 1)), None),
    "ceiled pooling": (nn.MaxPool2d(3, 2, ceil_mode=True), None),
    "averages": (nn.AvgPool2d(2), Axis(2, 1, 0, 0, 0)),
    "stem": (nn.Sequential(conv(7, 2, padding=3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)), None),
    "transposed": (nn.ConvTranspose2d(4, 6, 4, 2, 1), None),
    "upsampled": (nn.Sequential(nn.Upsample(scale_factor=2.0), conv(3, padding=1)), None),
    "bilinear": (nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False), None),
    "spatial pyramid": (nn.MaxPool2d(13, 1, 6), Axis(1, 1, 0, 6, 6)),
}
GLOBAL: dict[str, tuple[nn.Module, str]] = {
    "squeeze": (Squeeze(), READS_ALL),
    "attention": (Attention(), READS_ALL),
    "group norm": (nn.Sequential(conv(1), nn.GroupNorm(2, 8)), READS_ALL),
    "global pooling": (nn.AdaptiveAvgPool2d(1), READS_ALL),
    "places": (Places(), VARIES),
    "resized": (Resized(), VARIES),
    "flat": (Flat(), FIXED),
    "deformable": (deformable(), VARIES),
}


@pytest.mark.parametrize("name", LOCAL)
def test_crops_give_what_the_whole_map_gives(name: str) -> None:
    """Where they are compared; between them they show every position of the output."""
    module, known = LOCAL[name]
    module = module.eval()
    geometry = find_geometry(module, 4, CPU)
    assert isinstance(geometry, tuple)
    assert known is None or geometry == (known, known)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for size in SIZES:
            x = torch.randn(2, 4, *size, generator=generator)
            whole = module(x)
            seen = torch.zeros(whole.shape[2:])
            side = min(whole.shape[2:]) // 3 + 1
            for _ in range(30):
                windows = draw_windows(geometry, x.shape, whole.shape, side, generator)
                assert 1 <= len(windows) <= MAX_CROPS
                for window in windows:
                    crop = whole[(..., *window.written)]
                    mask = window.mask()
                    y = module(x[(..., *window.read)])
                    assert y.shape == crop.shape
                    torch.testing.assert_close(y * mask, crop * mask, rtol=1e-4, atol=1e-5)
                    seen[window.written] += mask[0, 0]
                    sides = mask[0, 0].sum(0).max(), mask[0, 0].sum(1).max()
                    assert min(sides) >= side
            assert (seen > 0).float().mean() > 0.97


@pytest.mark.parametrize("name", GLOBAL)
def test_what_reads_everything_has_no_geometry(name: str) -> None:
    module, reason = GLOBAL[name]
    assert find_geometry(module.eval(), 4, CPU) == reason


def test_height_and_width_differ() -> None:
    found = find_geometry(nn.Conv2d(4, 4, (1, 7), padding=(0, 3)), 4, CPU)
    assert found == (Axis(1, 1, 0, 0, 0), Axis(1, 1, 0, 3, 3))


def test_small_maps_stay_whole_and_crops_share_a_shape() -> None:
    geometry = find_geometry(conv(3, 2, padding=1), 4, CPU)
    assert isinstance(geometry, tuple)
    generator = torch.Generator().manual_seed(0)
    small = draw_windows(
        geometry, torch.Size((1, 4, 16, 20)), torch.Size((1, 8, 8, 10)), 12, generator
    )
    assert small == []
    sizes = torch.Size((1, 4, 128, 160)), torch.Size((1, 8, 64, 80))
    windows = [w for _ in range(30) for w in draw_windows(geometry, *sizes, 12, generator)]
    shapes = {tuple(part.stop - part.start for part in w.read) for w in windows}
    assert len(shapes) == 1
    again = draw_windows(geometry, *sizes, 12, torch.Generator().manual_seed(5))
    assert again == draw_windows(geometry, *sizes, 12, torch.Generator().manual_seed(5))
