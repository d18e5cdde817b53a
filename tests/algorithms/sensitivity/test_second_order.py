"""The second-order estimate against what is computed by hand for a linear network."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmptq.algorithms.sensitivity.forms import own_forms
from mmptq.algorithms.sensitivity.second_order import random_projection, second_order
from mmptq.engine import CalibrationContext
from mmptq.errors import NumericalError
from tests.calibration_support import MakeContext, make_context  # noqa: F401
from tests.sensitivity_support import CLASSES, linear_context, objective


def images_of(context: CalibrationContext) -> list[tuple[int, Tensor]]:
    batches = [(i, context.adapter.preprocess(batch, False)) for i, batch in context.data]
    return [(i, batch["inputs"].flatten(1)[0].double()) for i, batch in batches]


def test_equals_the_fisher_information_computed_by_hand(tmp_path: Path) -> None:
    context = linear_context(tmp_path)
    found = second_order(context, objective(context), own_forms(context.model))
    model = context.model
    (_, first), (_, second) = model.quant_layers()
    w1, b1 = first.weight.detach().double(), first.bias.detach().double()
    w2, b2 = second.weight.detach().double(), second.bias.detach().double()

    def error(quantizer: Any, x: Tensor) -> Tensor:
        return quantizer(x.float()).double() - x

    sums: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for position, x in images_of(context):
        h = w1 @ x + b1
        y = w2 @ h + b2
        signs = torch.randint(0, 2, (1, CLASSES), generator=torch.Generator().manual_seed(position))
        back = (signs[0].double() * 2 - 1) / (y - y.mean()).square().sum().sqrt()
        back_h = w2.T @ back
        gradients = {
            "network.2": (torch.outer(back, h), w2, model.weight_quantizers()["network.2"]),
            "network.2:0": (back_h, h, model.sites["network.2:0"]),
            "network.1": (torch.outer(back_h, x), w1, model.weight_quantizers()["network.1"]),
            "network.1:0": (w1.T @ back_h, x, model.sites["network.1:0"]),
        }
        assert gradients.keys() == found.keys()
        for name, (gradient, tensor, quantizer) in gradients.items():
            product = gradient * error(quantizer, tensor)
            sums[name].append((float(product.square().sum()), float(product.sum()) ** 2))
    for name, values in sums.items():
        (estimate,) = found[name]
        for i, key in enumerate(("fisher", "projected")):
            of_images = torch.tensor([value[i] for value in values], dtype=torch.float64)
            assert getattr(estimate, key) == pytest.approx(float(of_images.mean()), rel=1e-3)
            standard = float(of_images.std()) / math.sqrt(len(values))
            assert getattr(estimate, f"{key}_error") == pytest.approx(standard, rel=1e-3)


def test_of_the_last_layer_the_diagonal_is_exact(tmp_path: Path) -> None:
    """Whatever the signs are, their squares are 1."""
    context = linear_context(tmp_path, images=1)
    forms = {"network.2": own_forms(context.model)["network.2"]}
    (found,) = second_order(context, objective(context), forms)["network.2"]
    (_, first), (_, second) = context.model.quant_layers()
    with torch.no_grad():
        (_, x) = images_of(context)[0]
        h = first.weight.double() @ x + first.bias
        y = second.weight.double() @ h + second.bias
        delta = forms["network.2"][0](second.weight) - second.weight
        by_hand = (delta.double().square() * h.square()).sum() / (y - y.mean()).square().sum()
    assert found.fisher == pytest.approx(float(by_hand), rel=1e-4)
    assert math.isnan(found.fisher_error)  # one image


def test_many_probes_come_to_the_true_distance(tmp_path: Path) -> None:
    """A linear network's distance has no higher orders."""
    context = linear_context(tmp_path, images=2)
    forms = own_forms(context.model)
    found = second_order(context, objective(context), forms, probes=400)
    model = context.model
    (_, first), (_, second) = model.quant_layers()
    with torch.no_grad():
        true = []
        for _, x in images_of(context):
            h = first.weight.double() @ x + first.bias
            y = second.weight.double() @ h + second.bias
            read = forms["network.2:0"][0](h.float()).double()
            change = second.weight.double() @ (read - h)
            true.append(float(change.square().sum() / (y - y.mean()).square().sum()))
    (estimate,) = found["network.2:0"]
    assert estimate.projected == pytest.approx(sum(true) / len(true), rel=0.2)


def test_a_batch_counts_by_its_images(tmp_path: Path) -> None:
    context = linear_context(tmp_path, images=5, batch_size=2)
    found = second_order(context, objective(context), own_forms(context.model))
    assert all(estimate.fisher > 0 for (estimate,) in found.values())
    # Elements of a batch's tensor, by its images: two of 2 and one of 1.
    assert found["network.2:0"][0].numel == pytest.approx((2 * 10 + 2 * 10 + 5) / 5)


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_the_model_is_left_as_it_was(family: str, make_context: MakeContext) -> None:  # noqa: F811
    context = make_context(family)
    state = {key: value.clone() for key, value in context.model.state_dict().items()}
    found = second_order(context, objective(context), own_forms(context.model))
    assert all(torch.equal(v, state[k]) for k, v in context.model.state_dict().items())
    assert all(q.enabled and not q._forward_hooks for q in context.model.sites.values())
    assert all(p.grad is None for p in context.model.parameters())
    layers = dict(context.model.quant_layers())
    assert not any("quantized_weight" in vars(layer) for layer in layers.values())
    weights = {name: found[name][0] for name in context.model.weight_quantizers()}
    for name, estimate in weights.items():
        weight = layers[name].weight.detach()
        assert estimate.numel == weight.numel()
        assert estimate.signal == pytest.approx(float(weight.double().square().sum()), rel=1e-5)
        assert estimate.fisher > 0
    again = second_order(context, objective(context), own_forms(context.model))
    assert again == found


def test_a_tensor_that_is_not_finite_is_named(
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context("retinanet")
    layer = dict(context.model.quant_layers())["neck.lateral_convs.1.conv"]
    with torch.no_grad():
        layer.bias[0] = math.nan
    with pytest.raises(NumericalError, match=r"^neck\.fpn_convs\.\d\.conv: .*image_0.png"):
        second_order(context, objective(context), own_forms(context.model))


def test_projection_weighs_each_kind_by_its_spread() -> None:
    kinds = [[torch.tensor([1.0, 3.0])], [torch.tensor([[10.0]]), torch.tensor([30.0])], []]
    leaves = [t.requires_grad_() for kind in kinds for t in kind]
    scalar = random_projection(kinds, torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad(scalar, leaves)
    # Deviations from the mean: 1, 1 and 10, 10; two kinds that have any elements.
    expected = [1 / math.sqrt(2 * 2.0)] * 2 + [1 / math.sqrt(2 * 200.0)] * 2
    found = torch.cat([g.flatten().abs() for g in gradients]).tolist()
    assert found == pytest.approx(expected)
