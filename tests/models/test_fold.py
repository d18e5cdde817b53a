"""Folding against the layer and the norm run one after the other."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mmptq.errors import CheckpointError
from mmptq.models.fold import fold_batch_norms, fold_pair
from tests.modules.test_norms import NormAct, NormGate

PAIRS: dict[str, tuple[Callable[[], tuple[nn.Module, nn.Module]], tuple[int, ...]]] = {
    "conv": (lambda: (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)), (2, 4, 9, 9)),
    "no_bias": (lambda: (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)), (2, 4, 9, 9)),
    "grouped": (lambda: (nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8)), (2, 4, 9, 9)),
    "plain_norm": (lambda: (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False)), (2, 4, 9, 9)),
    "large_eps": (lambda: (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, eps=0.3)), (2, 4, 9, 9)),
    "transposed": (lambda: (nn.ConvTranspose2d(4, 6, 3), nn.BatchNorm2d(6)), (2, 4, 9, 9)),
    "transposed_grouped": (
        lambda: (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6)),
        (2, 4, 9, 9),
    ),
    "transposed_depthwise": (
        lambda: (nn.ConvTranspose2d(4, 8, 3, stride=2, groups=4), nn.BatchNorm2d(8)),
        (2, 4, 9, 9),
    ),
    "linear": (lambda: (nn.Linear(7, 5), nn.BatchNorm1d(5)), (3, 7)),
    "linear_no_bias": (lambda: (nn.Linear(7, 5, bias=False), nn.BatchNorm1d(5)), (3, 7)),
}


def build(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    torch.manual_seed(0)
    make, shape = PAIRS[name]
    layer, norm = make()
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.01, 3.0)
        if norm.affine:
            norm.weight.normal_()  # negative gains too
            norm.bias.normal_()
    return layer.eval(), norm.eval(), torch.randn(shape)


@pytest.mark.parametrize("name", PAIRS)
@torch.no_grad()
def test_the_function_stays_the_same(name: str) -> None:
    layer, norm, x = build(name)
    expected = norm(layer(x))
    fold_pair(layer, norm)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_whether_the_weight_learns_stays(frozen: bool) -> None:
    layer, norm, _ = build("no_bias")
    layer.weight.requires_grad_(not frozen)
    fold_pair(layer, norm)
    assert isinstance(layer.bias, nn.Parameter)
    assert layer.weight.requires_grad is layer.bias.requires_grad is (not frozen)


@torch.no_grad()
def test_in_a_model_the_norm_becomes_an_identity_wherever_it_hangs() -> None:
    layer, norm, x = build("conv")
    model = nn.ModuleDict({"a": nn.Sequential(layer, norm), "b": nn.Sequential(layer, norm)})
    expected = model["a"](x)
    fold_batch_norms(model, [("a.0", "a.1")])
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    for branch in model.values():
        torch.testing.assert_close(branch(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_activation_inside_the_norm_stays() -> None:
    layer, _, x = build("conv")
    model = nn.Sequential(layer, NormAct(6).eval())
    nn.init.normal_(model[1].running_mean)
    expected = model(x)
    fold_batch_norms(model, [("0", "1")])
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert (expected == 0).any()
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


def test_a_norm_that_computes_something_else() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), NormGate(4))
    with pytest.raises(CheckpointError, match="folds 1, a NormGate, which computes more"):
        fold_batch_norms(model, [("0", "1")])


def test_a_norm_without_statistics() -> None:
    with pytest.raises(ValueError, match="running statistics"):
        fold_pair(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
