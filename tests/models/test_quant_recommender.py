"""The wrapped recommender: its plan, its weights against torch's rounding, checkpoints, cost."""

from typing import Any

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmptq.adapters import find_adapter
from mmptq.engine import float_form
from mmptq.evaluation import model_cost, profile_model
from mmptq.models import Plan, QConfig, QuantRecommender, packed_state
from mmptq.models.quant_recommender import with_tables
from mmptq.modules import EmbeddingTable
from tests.conftest import calibrate_min_max
from tests.recommendation_support import SIZES, neumf

TABLES = ("gmf.user", "gmf.item", "mlp.user", "mlp.item")
LINEAR = ("mlp.layers.0", "mlp.layers.2")


def make() -> QuantRecommender:
    cfg = dict(type="mmptq.QuantRecommender", recommender_type="mmptq.NeuMF", **SIZES)
    model = MODELS.build(cfg).eval()
    model.load_state_dict(neumf().state_dict())
    return model


@pytest.fixture
def model() -> QuantRecommender:
    return make()


@pytest.fixture
def pairs() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    columns = [
        torch.randint(SIZES[n], (3, 7), generator=generator) for n in ("num_users", "num_items")
    ]
    return torch.stack(columns, dim=-1)


def plan_of(model: QuantRecommender, weight: Any = 4, act: Any = 6, **kwargs: Any) -> Plan:
    bits = {"weight": weight, "act": act}
    specs = {k: None if b is None else dict(num_bits=b) for k, b in bits.items()}
    return find_adapter(model.model).plan(QConfig.parse({**specs, **kwargs}))


def prepared(model: QuantRecommender, pairs: Tensor, **kwargs: Any) -> QuantRecommender:
    model.prepare(plan_of(model, **kwargs))
    calibrate_min_max(model, pairs)
    return model


def test_plan(model: QuantRecommender) -> None:
    plan = plan_of(model)
    layers = {layer.name: layer for layer in plan.layers}
    operands = ("gmf.product.left", "gmf.product.right")
    assert set(layers) == {*TABLES, *LINEAR, *operands, "predict_layer"}
    assert all(layers[name].inputs == (None,) for name in TABLES)
    assert all(layers[name].roles == ("head", "embedding") for name in TABLES)
    assert all(layers[name].weight is None for name in operands)
    # Each side of the product, what both branches read, and what the last layer reads.
    read = [name for name in layers if layers[name].inputs != (None,)]
    assert len({layers[name].inputs for name in read}) == len(plan.sites) == len(read) == 5
    bits = {name: layer.weight.num_bits for name, layer in layers.items() if layer.weight}
    assert bits == dict.fromkeys((*TABLES, *LINEAR), 4.0) | {"predict_layer": 8.0}
    assert plan.unplanned == ()


def test_bits_by_role(model: QuantRecommender) -> None:
    override = dict(role="embedding", weight=dict(num_bits=8, per_channel=False))
    weights = {x.name: x.weight for x in plan_of(model, overrides=[override]).layers}
    assert {(weights[name].num_bits, weights[name].per_channel) for name in TABLES} == {(8, False)}
    assert {(weights[name].num_bits, weights[name].per_channel) for name in LINEAR} == {(4, True)}


@torch.no_grad()
@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_against_torch(model, pairs, per_channel: bool) -> None:
    """The quantized network is the float one on weights that torch quantized."""
    override = dict(pattern="*", weight=dict(per_channel=per_channel))
    prepared(model, pairs, act=None, overrides=[override])
    reference = neumf()
    for name, layer in model.quant_layers():
        quantizer = layer.weight_quantizer
        if quantizer is not None:
            rows = quantizer.scale.numel()
            assert rows == (len(layer.weight) if per_channel else 1)
            low, high = -(2 ** (quantizer.num_bits - 1)), 2 ** (quantizer.num_bits - 1) - 1
            steps = quantizer.scale.reshape(-1, 1)
            codes = torch.clamp((layer.weight / steps).round(), low, high)
            reference.get_submodule(name).weight.copy_(codes * steps)
    torch.testing.assert_close(model(pairs), reference(pairs), rtol=1e-5, atol=1e-5)
    assert (model(pairs) - neumf()(pairs)).abs().max() > 0.01


@torch.no_grad()
def test_both_sides_of_the_product_are_quantized(model, pairs) -> None:
    prepared(model, pairs, weight=None, act=3)
    branch, users, items = model.model.gmf, pairs[..., 0], pairs[..., 1]
    sides = []
    for table, operand, ids in (
        (branch.user, branch.product.left, users),
        (branch.item, branch.product.right, items),
    ):
        quantizer = operand.input_quantizers[0]
        zero_point = int(quantizer.zero_point)
        sides.append(
            torch.fake_quantize_per_tensor_affine(
                table.weight[ids], float(quantizer.scale), zero_point, 0, 7
            )
        )
    model.start_pass()
    torch.testing.assert_close(branch(users, items), sides[0] * sides[1])


@torch.no_grad()
def test_quantizers_off_give_the_float_model(model, pairs) -> None:
    prepared(model, pairs)
    with float_form(model):
        assert torch.equal(model(pairs), neumf()(pairs))


@torch.no_grad()
@pytest.mark.parametrize("packed", [False, True])
def test_reload_bit_for_bit(model, pairs, packed: bool) -> None:
    prepared(model, pairs)
    state = model.state_dict()
    other = make()
    other.load_state_dict(packed_state(model) if packed else state)
    assert torch.equal(other(pairs), model(pairs))


@torch.no_grad()
def test_cost_counts_tables(model) -> None:
    """By hand: 4 bits a weight but the last layer's 8, a step a row and an output, 5 inputs."""
    adapter = find_adapter(model.model)
    adapter.probe = type(adapter.probe)(size=(1, 2), full_size=(1, 2))
    cost = model_cost(profile_model(adapter, (1, 2)), plan_of(model))
    users, items = SIZES["num_users"], SIZES["num_items"]
    tables, layers = (users + items) * (4 + 4), 8 * 6 + 6 * 4
    steps = 2 * (users + items) + 6 + 4 + 1
    biases, sites = 6 + 4 + 1, 5 * 2
    wanted = (tables + layers) / 2 + 8 + 4 * (steps + biases + sites)
    assert cost.packed_bytes == wanted
    assert cost.float_bytes == 4 * (tables + layers + 8 + biases)
    assert cost.macs == layers + 8  # of one pair; to look a row up multiplies nothing


def test_only_plain_embeddings_become_tables() -> None:
    model = nn.ModuleList([nn.Embedding(3, 2), nn.Embedding(3, 2, max_norm=1.0)])
    weight = model[0].weight
    kinds = [type(module) for module in with_tables(model)]
    assert kinds == [EmbeddingTable, nn.Embedding]
    assert model[0].weight is weight
