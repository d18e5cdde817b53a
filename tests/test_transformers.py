"""Transformers through the whole core: plan, float form, reload, search, reconstruction."""

import json
import random
from typing import Any

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from mmptq.adapters import find_adapter
from mmptq.algorithms import AdaRound, BitShrinking, JointSearch, QDrop
from mmptq.algorithms.lapq.search_space import SearchSpace
from mmptq.engine import LossEvaluator
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.units.units import find_units
from mmptq.errors import ConfigError
from mmptq.evaluation import model_cost, plan_table, profile_model, render
from mmptq.models import Plan, QConfig, QuantClassifier, TensorSpec
from mmptq.modules import AttentionProduct, expanded_modules
from tests.calibration_support import W4A4
from tests.transformer_support import (
    MODELS,
    MakeTransformer,
    make_model,
    make_transformer,
)

__all__ = ["make_transformer"]

TASK = {"type": "TaskLoss"}
OPERANDS = ("query", "key", "probs", "value")
LARGE = {"swin_t": dict(type="SwinTransformer"), "pvt": dict(type="PyramidVisionTransformer")}


def large(name: str) -> QuantClassifier:
    """As in MMDetection's registry, with its default arguments."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    cls = "mmptq.BackboneClassifier"
    return QuantClassifier(cls, backbone=LARGE[name], num_classes=10, image_size=64).eval()


def plan_of(model: QuantClassifier, **cfg: Any) -> Plan:
    return find_adapter(model.model).plan(QConfig.parse({**W4A4, **cfg}))


def input_specs(plan: Plan) -> dict[str, TensorSpec | None]:
    sites = {site.name: site.spec for site in plan.sites}
    return {p.name: None if p.inputs[0] is None else sites[p.inputs[0]] for p in plan.layers}


def products(model: nn.Module) -> list[str]:
    with expanded_modules(model):
        return [name for name, m in model.named_modules() if isinstance(m, AttentionProduct)]


@pytest.mark.parametrize("name", LARGE)
@torch.no_grad()
def test_mmdetections_backbones(name: str) -> None:
    """Every product is planned, nothing but the first and last layer has another bit-width, and
    without quantizers the prepared model computes the float model's bits, also reloaded."""
    model = large(name)
    images = torch.randn(2, 3, 64, 96)
    expected, state = model(images), model.state_dict()
    plan = plan_of(model)
    assert list(model.state_dict()) == list(state)  # planning leaves no trace
    names = products(model.model)
    assert len(names) == {"swin_t": 12, "pvt": 16}[name]
    specs = input_specs(plan)
    for product in names:
        for operand in OPERANDS:
            assert specs[f"{product}.{operand}"] == TensorSpec(4.0, False, "depthwise")
    assert all(p.weight is not None or ".product." in p.name for p in plan.layers)
    assert plan.unplanned == ()
    edges = {p.name for p in plan.layers if {"first", "last"} & set(p.roles)}
    assert "head.fc" in edges and len(edges) == 2
    assert {n for n, spec in specs.items() if spec != TensorSpec(4.0, False, "depthwise")} == edges

    model.prepare(plan)
    assert torch.equal(model(images), expected)
    reloaded = large(name)
    reloaded.load_state_dict(model.state_dict())
    assert reloaded.plan == plan and torch.equal(reloaded(images), expected)


def test_float_checkpoints_keep_their_names() -> None:
    model, other = make_model("pvt"), make_model("pvt")
    keys = [key for key in model.state_dict() if "attn.in_proj_weight" in key]
    assert len(keys) == 2
    plan_of(model)
    state = {key: torch.randn_like(value) for key, value in other.state_dict().items()}
    model.load_state_dict(state)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@torch.no_grad()
def test_a_vision_transformer_without_quantizers_is_the_float_one() -> None:
    """Torch's fused inference kernel, which the float model takes, rounds in another order."""
    model, images = make_model("vit"), torch.randn(3, 3, 16, 16)
    fused = model(images)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        expected = model(images)
        model.prepare(plan_of(model))
        assert torch.equal(model(images), expected)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert torch.equal(model(images), expected)
    torch.testing.assert_close(fused, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_sixteen_bits_are_nearly_float_and_reload_exactly(
    name: str, make_transformer: MakeTransformer
) -> None:
    context = make_transformer(name, qconfig=dict(weight=dict(num_bits=16), act=dict(num_bits=16)))
    model = context.model
    images = torch.cat([model.data_preprocessor(b, False)["inputs"] for _, b in context.data])
    quantized = model(images)
    reloaded = make_model(name)
    reloaded.load_state_dict(model.state_dict())
    assert torch.equal(reloaded(images), quantized)
    model.enable_quantizers(weights=False, activations=False)
    exact = model(images)
    assert 0 < float((quantized - exact).norm() / exact.norm()) < 1e-3


def test_kinds_of_quantizers(make_transformer: MakeTransformer) -> None:
    """Probabilities are unsigned, what GELU and LayerNorm give is asymmetric."""
    sites = make_transformer("vit").model.sites
    block = "blocks.0"
    probs = sites[f"{block}.attn.product.probs:0"]
    assert float(probs.zero_point) == 0.0 and probs.scheme.bounds == (0.0, 15.0)
    for name in ("attn.in_proj", "fc1", "fc2"):  # behind LayerNorm, LayerNorm, GELU
        site = sites[f"{block}.{name}:0"]
        assert not site.scheme.symmetric and 0 < float(site.zero_point) < 15
    model = make_transformer("vit", qconfig={**W4A4, "scope": "lapq_paper"}, folder="b").model
    symmetric = model.sites[f"{block}.attn.product.probs:0"].scheme
    assert symmetric.symmetric and not symmetric.signed
    assert model.sites[f"{block}.attn.product.query:0"].scheme.signed


def test_overrides_by_name() -> None:
    model = make_model("vit")
    plan = plan_of(
        model,
        overrides=[
            dict(pattern="blocks.0.*.probs", act=dict(num_bits=8)),
            dict(pattern="blocks.1.attn.product.*", weight=None, act=None),
            dict(pattern="blocks.1.attn.in_proj", weight=dict(num_bits=6)),
        ],
    )
    specs = input_specs(plan)
    assert specs["blocks.0.attn.product.probs"] == TensorSpec(8.0, False, "depthwise")
    assert specs["blocks.0.attn.product.value"] == TensorSpec(4.0, False, "depthwise")
    assert all(specs[f"blocks.1.attn.product.{name}"] is None for name in OPERANDS)
    weights = {p.name: p.weight for p in plan.layers}
    assert weights["blocks.1.attn.in_proj"] == TensorSpec(6.0, True, True)
    assert weights["blocks.0.attn.product.query"] is None
    model.prepare(plan)
    with pytest.raises(ConfigError, match=r"blocks\.9"):
        plan_of(make_model("vit"), overrides=[dict(pattern="blocks.9.*", act=None)])


def test_tokens_of_one_tensor_share_a_site_and_others_do_not() -> None:
    plan = plan_of(make_model("pvt"))
    reads = {p.name: p.inputs for p in plan.layers}
    reduced, whole = (reads[f"backbone.layers.{i}.1.1.attn.attn.in_proj"] for i in (0, 1))
    assert len(reduced) == 2  # queries from all tokens, keys and values from fewer
    assert len(whole) == 1


def test_cost_by_hand() -> None:
    """16 tokens of 16 numbers in 2 heads; the products count with the bits of both sides."""
    model = make_model("vit")
    adapter = find_adapter(model.model)
    profile = profile_model(adapter, (16, 16))
    plan = plan_of(model, overrides=[dict(pattern="*.probs", act=dict(num_bits=8))])
    layers = {layer.name: layer for layer in model_cost(profile, plan).layers}
    block, tokens, size = "blocks.1", 16, 16
    product = tokens * tokens * size
    assert layers[f"{block}.attn.in_proj"].bops == 3 * tokens * size * size * 4 * 4
    assert layers[f"{block}.attn.product.query"].bops == product * 4 * 4
    assert layers[f"{block}.attn.product.probs"].bops == product * 8 * 4
    assert layers[f"{block}.attn.product.key"].bops == 0
    assert layers[f"{block}.attn.product.value"].calls == 1
    assert all(layer.quantized for layer in layers.values())
    shown = render(plan_table(plan, model_cost(profile, plan)), width=160)
    assert "times key" in shown and "times value" in shown
    float_cost = model_cost(profile)
    assert float_cost.bops == float_cost.macs * 32 * 32
    model.prepare(plan)
    assert profile_model(adapter, (16, 16)).layers == profile.layers


# --- search and reconstruction ------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("act", [True, False])
def test_incremental_evaluation_is_exact(
    name: str, act: bool, make_transformer: MakeTransformer
) -> None:
    qconfig = {**W4A4, "act": W4A4["act"] if act else None}
    context = make_transformer(name, qconfig=qconfig)
    full = LossEvaluator(context, TASK, incremental=False)
    incremental = LossEvaluator(context, TASK)
    space = SearchSpace(context.model)
    assert any("probs" in v.name for v in space.variables) == act
    point, rng = [0.0] * len(space), random.Random(0)
    losses = set()
    for i in rng.sample(range(len(space)), min(len(space), 12)):
        for step in (2.0, -3.0):
            point[i] = step
            space.apply(point)
            losses.add(incremental())
            assert incremental() == full()
    assert len(losses) > 12


def test_blocks_are_units_also_with_a_shape_beside_their_tokens(
    make_transformer: MakeTransformer,
) -> None:
    for name, blocks in (
        ("vit", ["blocks.0", "blocks.1"]),
        ("swin", [f"backbone.stages.{s}.blocks.{b}" for s in (0, 1) for b in (0, 1)]),
        ("pvt", ["backbone.layers.0.1.1", "backbone.layers.1.1.1"]),
    ):
        context = make_transformer(name, folder=name)
        graph = call_graph(context.model, context.adapter)
        found = [
            unit.name
            for unit in find_units(context.model, context.adapter, graph, "block")
            if len(unit.layers) > 1
        ]
        assert found == blocks


@pytest.mark.parametrize(
    ("name", "method", "batch_size"),
    [("vit", BitShrinking, 2), ("swin", QDrop, 1), ("pvt", AdaRound, 2)],
)
def test_reconstruction(
    name: str, method: Any, batch_size: int, make_transformer: MakeTransformer
) -> None:
    """Block by block, and with AdaRound layer by layer, where each operand is a unit."""
    context = make_transformer(name, batch_size=batch_size)
    torch.manual_seed(0)
    method(preset="fast", iters=15, batch_size=3, probe_images=3).run(context)
    folder = context.store.folder.parent / "reconstruction" / method.__name__
    units = json.loads((folder / "summary.json").read_text())
    assert all(unit["after"] <= unit["before"] for unit in units)
    assert sum(unit["after"] for unit in units) < 0.97 * sum(unit["before"] for unit in units)
    reloaded = make_model(name)
    reloaded.load_state_dict(context.model.state_dict())
    images = torch.randn(2, 3, *context.adapter.trace_size)
    with torch.no_grad():
        assert torch.equal(reloaded(images), context.model(images))


def test_joint_search(make_transformer: MakeTransformer) -> None:
    context = make_transformer("vit", images=2)
    evaluator = LossEvaluator(context, TASK, incremental=False)
    before = evaluator()
    JointSearch(optimizer="CoordinateDescent", max_evals=60, objective=TASK).run(context)
    assert evaluator() < before
