"""What has a bit-width of its own, and what is fixed."""

from typing import Any

import pytest

from mmptq.algorithms.mixed_precision.groups import (
    Group,
    allocated_plan,
    chosen_bits,
    find_groups,
    uniform,
)
from mmptq.errors import ConfigError
from mmptq.models import Plan, QConfig
from tests.calibration_support import W4A4, WITH_OUTPUTS, MakeContext, make_context  # noqa: F401


def groups_of(plan: Plan | None, qconfig: dict[str, Any]) -> list[Group]:
    assert plan is not None
    return find_groups(plan, QConfig.parse(qconfig), (2, 4, 8), (4, 6))


def test_every_quantizer_is_in_one_group(make_context: MakeContext) -> None:  # noqa: F811
    plan = make_context("retinanet", ranges=False).model.plan
    groups = groups_of(plan, W4A4)
    assert plan is not None
    acts = [name for g in groups if g.which == "act" for name in g.members]
    assert sorted(acts) == sorted(site.name for site in plan.sites)
    weights = [name for g in groups if g.which == "weight" for name in g.members]
    assert weights == [layer.name for layer in plan.layers if layer.weight is not None]


def test_the_scope_and_overrides_fix_bits(make_context: MakeContext) -> None:  # noqa: F811
    qconfig = {
        **W4A4,
        "overrides": [
            {"pattern": "backbone.layer2.0.conv1", "weight": {"num_bits": 5}},
            {"pattern": "neck.fpn_convs.0.conv", "act": {"num_bits": 7}},
        ],
    }
    plan = make_context("retinanet", qconfig=qconfig, ranges=False).model.plan
    fixed = {g.name: g.choices for g in groups_of(plan, qconfig) if g.fixed}
    edges = {"backbone.conv1", "bbox_head.retina_cls", "bbox_head.retina_reg"}
    assert fixed == {
        **{f"{name}.{which}": (8.0,) for name in edges for which in ("weight", "act")},
        "backbone.layer2.0.conv1.weight": (5.0,),
        "neck.fpn_convs.0.conv.act": (7.0,),
    }


def test_quantized_outputs_keep_what_the_target_asks(
    make_context: MakeContext,  # noqa: F811
) -> None:
    plan = make_context("retinanet", qconfig=WITH_OUTPUTS, ranges=False).model.plan
    outputs = [g for g in groups_of(plan, WITH_OUTPUTS) if ".output" in g.layers[0]]
    assert outputs and all(g.choices == (8.0,) for g in outputs)


def test_weights_get_no_more_bits_than_the_target_has(
    make_context: MakeContext,  # noqa: F811
) -> None:
    qconfig = {**W4A4, "target": {"type": "onnxruntime", "reduce_range": True}}
    plan = make_context("retinanet", qconfig=qconfig, ranges=False).model.plan
    free = {g.choices for g in groups_of(plan, qconfig) if g.which == "weight" and not g.fixed}
    assert free == {(2.0, 4.0, 7.0)}


def test_nothing_to_choose(make_context: MakeContext) -> None:  # noqa: F811
    bits = {"num_bits": 4}
    qconfig = {**W4A4, "overrides": [{"pattern": "*", "weight": bits, "act": bits}]}
    plan = make_context("retinanet", qconfig=qconfig, ranges=False).model.plan
    with pytest.raises(ConfigError, match="nothing is left to choose"):
        groups_of(plan, qconfig)


def test_uniform_takes_the_nearest_choice_and_leaves_what_is_fixed(
    make_context: MakeContext,  # noqa: F811
) -> None:
    plan = make_context("retinanet", ranges=False).model.plan
    assert plan is not None
    groups = groups_of(plan, W4A4)
    changed = allocated_plan(plan, groups, uniform(groups, 2, 5))
    found = {x.name: x.weight.num_bits for x in changed.layers if x.weight is not None}
    edges = {"backbone.conv1", "bbox_head.retina_cls", "bbox_head.retina_reg"}
    assert {bits for name, bits in found.items() if name not in edges} == {2.0}
    assert {found[name] for name in edges} == {8.0}
    acts = {x.spec.num_bits for x in changed.sites}
    assert acts == {4.0, 8.0}  # of 4 and 6, the fewer
    assert chosen_bits(groups, uniform(groups, 8, 6))[0] == 8.0
