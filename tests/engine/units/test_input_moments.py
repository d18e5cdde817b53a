"""Moments of patches: against unfold, for every form of convolution."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmptq.engine.units import input_moments
from mmptq.engine.units.input_moments import InputMoments
from mmptq.errors import NumericalError
from mmptq.modules import QuantLayer, to_quantized
from mmptq.quantizers import UniformQuantizer

NONE: Any = ((), ())


def feed(
    found: InputMoments, layer: QuantLayer, floats: list[Tensor], others: list[Tensor]
) -> None:
    for image, x in enumerate(floats):
        found.add_float()(image, 0, x, layer(x), NONE)
    for image, x in enumerate(others):
        found.add_quantized()(image, 0, x, x, NONE)


def make(layer: nn.Module, folder: Path, positions: int = 10**6, max_inputs: int = 10**6) -> Any:
    quantized = to_quantized(layer)
    return quantized, InputMoments(quantized, positions, max_inputs, 1.0, folder)


CONVS = [
    nn.Conv2d(4, 6, 3, padding=1),
    nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
    nn.Conv2d(4, 6, (1, 3), padding=(0, 2), dilation=(1, 2)),
    nn.Conv2d(4, 6, 5, stride=(2, 1), padding=2, groups=2),
    nn.Conv2d(4, 4, 3, padding=1, groups=4),
]


@pytest.mark.parametrize("conv", CONVS)
@torch.no_grad()
def test_convolutions_against_unfold(conv: nn.Conv2d, tmp_path: Path) -> None:
    layer, found = make(conv, tmp_path)
    floats, others = (list(torch.randn(3, 1, 4, 9, 12) + 1) for _ in range(2))
    feed(found, layer, floats, others)
    assert found.plain

    def columns(images: list[Tensor]) -> Tensor:
        parts = [
            F.unfold(x, conv.kernel_size, conv.dilation, conv.padding, conv.stride)[0]
            for x in images
        ]
        return torch.cat(parts, 1).double().unflatten(0, (conv.groups, -1))

    x, q = columns(floats), columns(others)
    moments = found.moments()
    x_mean, q_mean = x.mean(-1), q.mean(-1)
    x, q = x - x_mean[:, :, None], q - q_mean[:, :, None]
    # The diagonal is larger by what rounding may have taken.
    torch.testing.assert_close(moments.gram, q @ q.mT / x.shape[-1], atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(moments.cross, x @ q.mT / x.shape[-1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moments.float_mean, x_mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moments.quant_mean, q_mean, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_linear_layers_read_tokens(tmp_path: Path) -> None:
    layer, found = make(nn.Linear(5, 3), tmp_path)
    x = torch.randn(1, 7, 2, 5)
    feed(found, layer, [x], [x])
    rows = x.reshape(-1, 5).double()
    expected = (rows - rows.mean(0)).T @ (rows - rows.mean(0)) / 14
    torch.testing.assert_close(found.moments().gram[0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_quantized_input_is_read_through_the_quantizer(tmp_path: Path) -> None:
    layer, found = make(nn.Linear(5, 3), tmp_path)
    reader = UniformQuantizer(2.0, symmetric=False)
    reader.set_range(torch.tensor(-1.0), torch.tensor(1.0))
    reader.enabled = False  # as in the float pass
    layer.bind_inputs([reader])
    x = torch.randn(1, 40, 5)
    found.add_float()(0, 0, x, layer(x), NONE)
    reader.enabled = True
    found.add_quantized()(0, 0, x, x, NONE)
    moments = found.moments()
    torch.testing.assert_close(moments.float_mean[0], x[0].double().mean(0), atol=1e-5, rtol=1e-5)
    quantized = reader(x)[0].double()
    torch.testing.assert_close(moments.quant_mean[0], quantized.mean(0), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_sample_of_positions_is_the_same_in_both_passes(tmp_path: Path) -> None:
    layer, found = make(nn.Conv2d(2, 3, 3), tmp_path, positions=7)
    x = torch.randn(1, 2, 30, 30)
    feed(found, layer, [x, x + 1], [x, x + 1])
    assert torch.equal(found._sums[1], found._sums[2])
    assert float(found._sums[0]) == 14


@torch.no_grad()
def test_long_patches_are_cut_into_blocks(tmp_path: Path) -> None:
    layer, found = make(nn.Conv2d(4, 3, 3), tmp_path, max_inputs=20)
    whole = InputMoments(layer, 10**6, 10**6, 1.0, tmp_path)
    assert found.blocks == (2, 18) and whole.blocks == (1, 36)
    x = torch.randn(1, 4, 9, 9)
    for one in (found, whole):
        feed(one, layer, [x], [x])
    gram, expected = found.moments().gram, whole.moments().gram[0]
    torch.testing.assert_close(gram[0], expected[:18, :18], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gram[1], expected[18:, 18:], atol=1e-5, rtol=1e-5)


class SamePadding(nn.Conv2d):
    """Pads in a way of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (2, 0, 2, 0)))


@torch.no_grad()
def test_what_is_no_product_of_patches_has_no_moments(tmp_path: Path) -> None:
    x = torch.randn(1, 4, 8, 8)
    for conv in (SamePadding(4, 4, 3), nn.ConvTranspose2d(4, 4, 2)):
        layer, found = make(conv, tmp_path)
        feed(found, layer, [x], [x])
        assert not found.plain and found.moments() is None
    layer, found = make(SamePadding(4, 4, 3), tmp_path)
    feed(found, layer, [x[..., :1, :1]], [x[..., :1, :1]])  # less than the kernel
    assert found.moments() is None
    layer, found = make(nn.Conv2d(4, 4, 3), tmp_path)
    assert found.moments() is None  # never ran


@torch.no_grad()
def test_hardly_varying_inputs_stay_positive_definite(tmp_path: Path) -> None:
    layer, found = make(nn.Linear(6, 3), tmp_path)
    x = 100.0 * torch.rand(1, 1, 6) + 1e-4 * torch.randn(1, 500, 6)
    feed(found, layer, [x], [x])
    assert float(torch.linalg.eigvalsh(found.moments().gram).min()) > 0.0


@torch.no_grad()
def test_processes_share_the_images_and_get_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = nn.Conv2d(3, 5, 3)
    floats, others = (list(torch.randn(7, 1, 3, 9, 9)) for _ in range(2))
    layer, whole = make(conv, tmp_path)
    feed(whole, layer, floats, others)
    expected = whole.moments()
    parts = [InputMoments(layer, 10**6, 10**6, 1.0, tmp_path) for _ in range(2)]
    for rank, part in enumerate(parts):
        feed(part, layer, floats[rank::2], others[rank::2])

    def reduce(tensor: Tensor, op: str = "sum") -> None:
        for mine, other in zip(parts[0]._sums, parts[1]._sums, strict=True):
            if mine is tensor:
                mine += other

    monkeypatch.setattr(input_moments, "all_reduce", reduce)
    found = parts[0].moments()
    for name in ("gram", "cross", "float_mean", "quant_mean"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


@torch.no_grad()
def test_inputs_that_overflow(tmp_path: Path) -> None:
    layer, found = make(nn.Linear(2, 3), tmp_path)
    x = torch.tensor([[1.0, 2.0]])
    feed(found, layer, [x], [x * 3e38])
    with pytest.raises(NumericalError, match="overflow"):
        found.moments()
