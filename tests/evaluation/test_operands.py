"""Products by their operands, against the cost model."""

from typing import Any

import pytest

from mmptq.adapters import Adapter, find_adapter
from mmptq.classifiers import VisionTransformer
from mmptq.evaluation import model_cost, profile_model
from mmptq.evaluation.operands import Quantized, products
from mmptq.models import Plan, QConfig

MIXED: dict[str, Any] = {
    "weight": {"num_bits": 4},
    "act": {"num_bits": 6},
    "overrides": [
        {"pattern": "backbone.layer2.*", "weight": None, "act": {"num_bits": 3}},
        {"pattern": "*.fpn_convs.*", "act": None},
    ],
}


def bops(adapter: Adapter, plan: Plan, shape: tuple[int, int]) -> tuple[float, float]:
    """By products, and by the cost model."""
    profile = profile_model(adapter, shape)
    bits: dict[Quantized | None, float] = {None: 32.0}
    bits |= {Quantized("weight", x.name): x.weight.num_bits for x in plan.layers if x.weight}
    bits |= {Quantized("act", x.name): x.spec.num_bits for x in plan.sites}
    found = list(products(profile, plan))
    cost = model_cost(profile, plan)
    assert sum(p.macs for p in found) == cost.macs
    return sum(p.macs * bits[p.first] * bits[p.second] for p in found), cost.bops


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_detectors(make_detector: Any, name: str) -> None:
    adapter = find_adapter(make_detector(name))
    plan = adapter.plan(QConfig.parse(MIXED))
    by_products, by_layers = bops(adapter, plan, (96, 128))
    assert by_products == pytest.approx(by_layers)


def test_products_of_two_activations() -> None:
    model = VisionTransformer(image_size=16, patch_size=4, embed_dims=16, depth=1, num_heads=2)
    adapter = find_adapter(model.eval())
    qconfig = {
        "weight": {"num_bits": 4},
        "act": {"num_bits": 6},
        "overrides": [{"pattern": "*.key", "act": {"num_bits": 3}}],
    }
    plan = adapter.plan(QConfig.parse(qconfig))
    by_products, by_layers = bops(adapter, plan, (16, 16))
    assert by_products == pytest.approx(by_layers)
    pairs = {(p.first, p.second) for p in products(profile_model(adapter, (16, 16)), plan)}
    both = [
        (first, second)
        for first, second in pairs
        if first is not None and second is not None and {first.which, second.which} == {"act"}
    ]
    assert len(both) >= 2  # queries with keys, probabilities with values
