"""Gradients at what is read through quantizers, against torch's own."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmptq.algorithms.sensitivity.watch import GradientWatch
from mmptq.engine.storage.tensor_store import TensorStore
from mmptq.quantizers import UniformQuantizer


class Model(nn.Module):
    """Two readers of one tensor, of which a third part goes round them both."""

    def __init__(self) -> None:
        super().__init__()
        self.site, self.learned = UniformQuantizer(4), nn.Parameter(torch.tensor([0.4, 1.1]))
        self.sites = {"a:0": self.site}

    def quant_layers(self) -> list[Any]:
        return []

    def forward(self, x: Tensor) -> Tensor:
        h = x * 3.0
        return 2.0 * self.site(h) + self.site(h).square() + 100.0 * h


def form(low: float, high: float) -> nn.Module:
    quantizer = UniformQuantizer(2, symmetric=False)
    quantizer.set_range(torch.tensor(low), torch.tensor(high))
    return quantizer


def test_readers_of_one_tensor_add_up_and_no_other_path_counts() -> None:
    model: Any = Model()
    forms: Any = {"a:0": [form(0.0, 4.0), form(0.0, 8.0)]}
    watch = GradientWatch(model, forms, TensorStore(1.0, "."))
    x = torch.tensor([0.4, 1.1], requires_grad=True)
    with watch.watching(x):
        scalar = model(x).sum()
    assert not model.site._forward_hooks
    watch.go_back(scalar, last=True)
    h = 3.0 * x.detach()
    gradient = 2.0 + 2.0 * h  # without 100
    for quantizer, sums in zip(forms["a:0"], watch.sums(1)["a:0"], strict=True):
        product = gradient * (quantizer(h) - h)
        assert abs(sums.fisher - float(product.square().sum())) < 1e-4
        assert abs(sums.projected - float(product.sum()) ** 2) < 1e-4
        assert sums.numel == 2 and abs(sums.signal - float(h.square().sum())) < 1e-5
        assert abs(sums.noise - float((quantizer(h) - h).square().sum())) < 1e-5


def test_what_nobody_reads_further_has_no_estimate_but_a_size() -> None:
    model: Any = Model()
    watch = GradientWatch(model, {"a:0": [form(0.0, 4.0)]}, TensorStore(1.0, "."))  # type: ignore[dict-item]
    x = torch.tensor([0.4, 1.1], requires_grad=True)
    with watch.watching(x):
        model.site(x * 3.0)
        scalar = x.sum()
    watch.go_back(scalar, last=False)
    watch.go_back(scalar, last=True)
    (sums,) = watch.sums(2)["a:0"]
    assert sums.numel == 2 and sums.noise > 0 and sums.fisher == sums.projected == 0


@pytest.mark.parametrize("trained", [True, False])
def test_what_does_not_depend_on_the_image_counts_too(trained: bool) -> None:
    model: Any = Model()
    model.learned.requires_grad_(trained)
    watch = GradientWatch(model, {"a:0": [form(0.0, 4.0)]}, TensorStore(1.0, "."))  # type: ignore[dict-item]
    x = torch.ones(2, requires_grad=True)
    with watch.watching(x):
        scalar = (model.site(model.learned * 3.0) * x).sum()
    watch.go_back(scalar, last=True)
    (sums,) = watch.sums(1)["a:0"]
    assert abs(sums.fisher - sums.noise) < 1e-6 and sums.noise > 0
    assert model.learned.grad is None
