"""Quantizers with levels of their own, in a qconfig."""

from typing import Any

import pytest
import torch

from mmptq.adapters import find_adapter
from mmptq.errors import ConfigError
from mmptq.evaluation import model_cost, profile_model
from mmptq.models import QConfig
from mmptq.models.kinds import has_own_levels
from mmptq.models.packing import packed_state
from mmptq.models.specs import ACT_DEFAULT
from tests.calibration_support import W4A4
from tests.transformer_support import MODELS, MakeTransformer, make_model, make_transformer

__all__ = ["make_transformer"]

LOG = dict(type="LogQuantizer")
TWIN = dict(type="mmptq.TwinQuantizer", num_bits=5)


def parse(**changes: Any) -> QConfig:
    return QConfig.parse({"weight": dict(num_bits=4), "act": dict(num_bits=4), **changes})


@pytest.mark.parametrize("name", MODELS)
def test_roles_of_what_softmax_and_gelu_give(name: str) -> None:
    """Both in each block and nowhere else, whatever the layers are called."""
    overrides = [dict(role="softmax", act=LOG), dict(role="gelu", act=TWIN)]
    model = make_model(name)
    plan = find_adapter(model.model).plan(parse(overrides=overrides))
    roles = {p.name: p.roles for p in plan.layers}
    products = {n for n in roles if n.endswith(".product.probs")}
    assert {n for n, found in roles.items() if "softmax" in found} == products
    gelu = [n for n, found in roles.items() if "gelu" in found]
    assert len(gelu) == len(products)
    specs = {site.owner: site.spec for site in plan.sites}
    for owner, spec in specs.items():
        kind = "LogQuantizer" if owner in products else "UniformQuantizer"
        assert spec.type == ("mmptq.TwinQuantizer" if owner in gelu else kind)
        assert has_own_levels(spec) == (owner in products or owner in gelu)
    assert all(specs[owner].num_bits == 5 for owner in gelu)
    model.prepare(plan)


def test_own_levels() -> None:
    assert not has_own_levels(ACT_DEFAULT)


@torch.no_grad()
def test_packed_checkpoints_and_costs(make_transformer: MakeTransformer) -> None:
    """The same outputs from a packed state, and bit operations as those of even levels."""
    own = make_transformer("vit", qconfig={**W4A4, "overrides": [dict(role="softmax", act=LOG)]})
    even = make_transformer("vit", qconfig=W4A4, folder="even")
    fresh, x = make_model("vit"), torch.randn(2, 3, 16, 16)
    fresh.load_state_dict(packed_state(own.model))
    assert torch.equal(fresh(x), own.model(x)) and not torch.equal(fresh(x), even.model(x))
    profile = profile_model(even.adapter, (16, 16))
    costs = [model_cost(profile, c.model.plan) for c in (own, even)]
    assert costs[0].gbops == costs[1].gbops and costs[0].size_mb == costs[1].size_mb


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(weight=LOG), r"qconfig.weight.type = 'LogQuantizer': .*activations only"),
        (
            dict(overrides=[dict(role="gelu", weight=TWIN)]),
            r"qconfig.overrides\[0\].weight.type = 'mmptq.TwinQuantizer'",
        ),
        (dict(act=TWIN, target="openvino"), r"qconfig.act.type .*qconfig.target = 'openvino'"),
        (
            dict(overrides=[dict(role="softmax", act=LOG)], target="tensorrt"),
            r"overrides\[0\].act.type = 'LogQuantizer': .*'tensorrt'",
        ),
    ],
)
def test_where_they_cannot_stand(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(**changes)
