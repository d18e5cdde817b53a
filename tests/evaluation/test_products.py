"""Multiplications that were called as functions, counted by hand."""

from collections import defaultdict

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import deform_conv2d
from torch import Tensor, nn

from mmptq.evaluation.products import watching_products


class Dynamic(nn.Module):
    """A convolution with generated kernels."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, x.new_ones(5, 4, 3, 3), stride=2)


class Attention(nn.Module):
    """Every way to multiply two matrices, and a layer in between."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.matmul(x, x.transpose(-2, -1))
        x = torch.einsum("nij,njc->nic", scores, self.layer(x))
        x = torch.baddbmm(x, scores, x)
        return F.scaled_dot_product_attention(x, x, x)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dynamic, self.attention = Dynamic(), Attention()

    def forward(self, image: Tensor) -> Tensor:
        x = self.dynamic(image)  # (2, 5, 4, 4)
        x = self.attention(x[:, 0]) + self.attention(x[:, 1])
        return x @ x.new_ones(4, 7)


def count(model: nn.Module, *args: Tensor) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    with watching_products(
        model, model.named_modules(), lambda n, m, a, o, own: found[n].append(own)
    ):
        model(*args)
    return dict(found)


@pytest.mark.parametrize("grad", [True, False])
def test_each_product_is_its_innermost_modules(grad: bool) -> None:
    model = Model()
    with torch.set_grad_enabled(grad):
        found = count(model, torch.randn(2, 4, 9, 9))
    product = 2 * 4 * 4 * 4  # of two batches of (4, 4) matrices
    assert found == {
        "dynamic": [2 * 16 * 5 * 4 * 9],
        "attention.layer": [product] * 2,
        "attention": [5 * product] * 2,  # attention itself is two
        "": [2 * 4 * 4 * 7],
    }
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_change_of_the_gradient_mode_inside() -> None:
    class Switching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                return Dynamic()(x.detach().requires_grad_()).detach()

    with torch.no_grad():
        assert count(nn.Sequential(Switching()), torch.randn(1, 4, 9, 9)) == {
            "0": [16 * 5 * 4 * 9], "": [0]
        }  # fmt: skip


def test_mmcvs_operators() -> None:
    class Deformed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            offset, weight = x.new_zeros(1, 18, 7, 7), x.new_ones(6, 4, 3, 3)
            return deform_conv2d(x, offset, weight, 1, 0, 1, 1, 1)

    found = count(nn.Sequential(Deformed()), torch.randn(1, 4, 9, 9))
    assert found == {"0": [49 * 6 * 4 * 9], "": [0]}
