"""Plans of real detectors and of hand-made traces."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from mmptq.adapters import find_adapter
from mmptq.errors import CheckpointError, ConfigError
from mmptq.models import Plan, QConfig, TensorSpec, Trace, build_plan
from mmptq.models.sites import Act, assign_sites

W4 = dict(weight=dict(num_bits=4), act=dict(num_bits=4))
ACT = (TensorSpec(4.0, False, "none"), None)
PREDICTORS = {
    "retinanet": {"bbox_head.retina_cls", "bbox_head.retina_reg"},
    "faster_rcnn": {
        "rpn_head.rpn_cls",
        "rpn_head.rpn_reg",
        "roi_head.bbox_head.fc_cls",
        "roi_head.bbox_head.fc_reg",
    },
}
Make = Callable[[str], nn.Module]


def plan_of(model: nn.Module, **cfg: Any) -> Plan:
    return find_adapter(model).plan(QConfig.parse({**W4, **cfg}))


def input_specs(plan: Plan) -> dict[str, list[TensorSpec | None]]:
    sites = {site.name: site.spec for site in plan.sites}
    return {
        layer.name: [None if s is None else sites[s] for s in layer.inputs] for layer in plan.layers
    }


def bits(spec: TensorSpec | None) -> float | None:
    return None if spec is None else spec.num_bits


# --- detectors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PREDICTORS)
def test_every_layer_is_planned_with_its_roles(make_detector: Make, name: str) -> None:
    model = make_detector(name)
    plan = plan_of(model)
    layers = {layer.name: layer for layer in plan.layers}
    expected = {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert set(layers) == expected and plan.unplanned == ()
    assert {n for n, layer in layers.items() if "first" in layer.roles} == {"backbone.conv1"}
    assert {n for n, layer in layers.items() if "last" in layer.roles} == PREDICTORS[name]
    for layer in plan.layers:
        top = layer.name.split(".")[0]
        assert layer.roles[0] == (top if top in ("backbone", "neck") else "head")
    assert plan.model_type == type(model).__name__ and plan.scope == "full"


@pytest.mark.parametrize("name", PREDICTORS)
def test_full(make_detector: Make, name: str) -> None:
    plan = plan_of(make_detector(name))
    inputs = input_specs(plan)
    for layer in plan.layers:
        expected = 8.0 if {"first", "last"} & set(layer.roles) else 4.0
        assert layer.weight == TensorSpec(expected, True, True), layer.name
        assert set(inputs[layer.name]) == {TensorSpec(expected, False, "depthwise")}, layer.name


@pytest.mark.parametrize("name", PREDICTORS)
def test_backbone_neck_leaves_heads_and_the_image_in_float(make_detector: Make, name: str) -> None:
    plan = plan_of(make_detector(name), scope="backbone_neck")
    inputs = input_specs(plan)
    for layer in plan.layers:
        if "head" in layer.roles:
            assert layer.weight is None and inputs[layer.name] == [None]
        elif "first" in layer.roles:
            assert bits(layer.weight) == 8.0 and inputs[layer.name] == [None]
        else:
            assert bits(layer.weight) == 4.0 and set(map(bits, inputs[layer.name])) == {4.0}


@pytest.mark.parametrize("name", PREDICTORS)
def test_lapq_paper_is_symmetric_and_per_tensor(make_detector: Make, name: str) -> None:
    plan = plan_of(make_detector(name), scope="lapq_paper")
    inputs = input_specs(plan)
    for layer in plan.layers:
        if {"first", "last"} & set(layer.roles):
            assert layer.weight is None and inputs[layer.name] == [None]
        else:
            assert layer.weight == TensorSpec(4.0, True, False)
            assert set(inputs[layer.name]) == {TensorSpec(4.0, True, "none")}


@pytest.mark.parametrize("name", PREDICTORS)
def test_every_norm_of_the_backbone_folds_into_the_convolution_before_it(
    make_detector: Make, name: str
) -> None:
    model = make_detector(name)
    folds = dict(plan_of(model).folds)
    norms = {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert set(folds.values()) == norms and len(norms) == 20
    assert folds["backbone.conv1"] == "backbone.bn1"
    assert folds["backbone.layer2.0.downsample.0"] == "backbone.layer2.0.downsample.1"
    assert folds["backbone.layer2.0.conv2"] == "backbone.layer2.0.bn2"
    assert plan_of(model, fold_bn=False).folds == ()


def reads(plan: Plan, name: str) -> tuple[str | None, ...]:
    return next(layer.inputs for layer in plan.layers if layer.name == name)


def test_layers_that_read_one_tensor_share_its_site(make_detector: Make) -> None:
    plan = plan_of(make_detector("retinanet"))
    down = reads(plan, "backbone.layer2.0.downsample.0")
    assert down == reads(plan, "backbone.layer2.0.conv1") and len(down) == 1
    assert down != reads(plan, "backbone.layer2.0.conv2")
    cls, reg = (reads(plan, f"bbox_head.{b}_convs.0.conv") for b in ("cls", "reg"))
    assert cls == reg and len(set(cls)) == 5
    cls, reg = (reads(plan, f"bbox_head.{b}_convs.1.conv") for b in ("cls", "reg"))
    assert len(set(cls) | set(reg)) == 10
    owners = {site.name: site.owner for site in plan.sites}
    assert len(owners) == len(plan.sites)
    assert all(name.rpartition(":")[0] == owner for name, owner in owners.items())


def test_without_per_call_the_levels_are_one_site(make_detector: Make) -> None:
    plan = plan_of(make_detector("retinanet"), per_call=False)
    assert all(len(layer.inputs) == 1 for layer in plan.layers)
    first = {reads(plan, f"bbox_head.{b}_convs.0.conv") for b in ("cls", "reg")}
    assert len(first) == 1
    levels = [site for site in plan.sites if (site.name,) in first]
    assert len(levels[0].watch) == 5


def test_a_site_is_watched_where_each_of_its_tensors_is_first_read(make_detector: Make) -> None:
    plan = plan_of(make_detector("faster_rcnn"))
    watched = [pair for site in plan.sites for pair in site.watch]
    assert len(watched) == len(set(watched))
    for site in plan.sites:
        for name, call in site.watch:
            inputs = reads(plan, name)
            assert inputs[call if len(inputs) > 1 else 0] == site.name


@pytest.mark.parametrize("name", PREDICTORS)
def test_the_plan_is_the_same_every_time(make_detector: Make, name: str) -> None:
    assert plan_of(make_detector(name)) == plan_of(make_detector(name).train())


def test_overrides_by_name_and_role(make_detector: Make) -> None:
    overrides = [
        dict(pattern="bbox_head.retina_reg", weight=None, act=None),
        dict(role="neck", weight=dict(num_bits=6)),
    ]
    plan = plan_of(make_detector("retinanet"), overrides=overrides)
    weights = {layer.name: bits(layer.weight) for layer in plan.layers}
    assert weights["bbox_head.retina_reg"] is None and weights["bbox_head.retina_cls"] == 8.0
    assert {b for n, b in weights.items() if n.startswith("neck.")} == {6.0}
    assert reads(plan, "bbox_head.retina_reg") == (None,)


def test_a_pattern_without_a_layer(make_detector: Make) -> None:
    with pytest.raises(ConfigError, match=r"retina_clss.*nearest: .*bbox_head\.retina_cls"):
        plan_of(
            make_detector("retinanet"),
            overrides=[dict(pattern="bbox_head.retina_clss", weight=None)],
        )


def test_nothing_to_quantize(make_detector: Make) -> None:
    with pytest.raises(ConfigError, match="leaves every layer in float"):
        plan_of(make_detector("retinanet"), weight=None, act=None)


def test_layers_that_never_run_are_listed() -> None:
    model = nn.ModuleDict({"used": nn.Conv2d(3, 3, 1), "idle": nn.Conv2d(3, 3, 1)})
    plan = build_plan(model, Trace(calls={"used": [0]}), QConfig.parse(W4))
    assert [layer.name for layer in plan.layers] == ["used"] and plan.unplanned == ("idle",)


# --- sites of hand-made traces --------------------------------------------------------------------


def names(calls: Mapping[str, list[int | None]], acts: dict[str, Act | None], per_call: bool):
    readers, sites = assign_sites(calls, acts, per_call)
    return readers, [site.name for site in sites]


def test_other_bits_mean_another_site() -> None:
    calls = {"a": [0], "b": [0], "c": [0]}
    acts: dict[str, Act | None] = {"a": ACT, "b": (TensorSpec(8.0, False), None), "c": ACT}
    readers, sites = names(calls, acts, True)
    assert readers == {"a": ("a:0",), "b": ("b:0",), "c": ("a:0",)} and sites == ["a:0", "b:0"]


def test_a_float_reader_takes_no_part() -> None:
    acts: dict[str, Act | None] = {"a": None, "b": ACT}
    readers, sites = names({"a": [0], "b": [0]}, acts, True)
    assert readers == {"a": (None,), "b": ("b:0",)} and sites == ["b:0"]


def test_calls_that_read_the_same_tensor_need_one_reader() -> None:
    readers, _ = names({"a": [7, 7, 7]}, {"a": ACT}, True)
    assert readers == {"a": ("a:0",)}


def test_merging_the_calls_of_one_layer_merges_those_of_its_neighbours() -> None:
    calls = {"a": [0, 1], "b": [1, 2], "c": [3, 2], "d": [4]}
    acts: dict[str, Act | None] = dict.fromkeys(calls, ACT)
    readers, sites = names(calls, acts, False)
    assert readers == {"a": ("a:0",), "b": ("a:0",), "c": ("a:0",), "d": ("d:0",)}
    assert sites == ["a:0", "d:0"]
    readers, _ = names(calls, acts, True)
    assert readers["b"] == ("a:1", "b:1") and readers["c"] == ("c:0", "b:1")


# --- as a tensor --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_round_trip_through_a_tensor(make_detector: Make, name: str) -> None:
    plan = plan_of(make_detector(name), act=dict(num_bits=10 / 3), scope="backbone_neck")
    data = plan.to_tensor()
    assert data.dtype == torch.uint8 and data.dim() == 1
    assert Plan.from_tensor(data) == plan
    assert json.loads(bytes(data.tolist()))["version"] == 1


def test_a_plan_from_before_there_were_links(make_detector: Make) -> None:
    plan = plan_of(make_detector("retinanet"))
    raw = json.loads(bytes(plan.to_tensor().tolist()))
    assert raw.pop("links")
    old = torch.tensor(list(json.dumps(raw).encode()), dtype=torch.uint8)
    assert Plan.from_tensor(old) == replace(plan, links=())


@pytest.mark.parametrize(
    "text",
    ["", "no json", "{}", "[]", "3", '{"version": 1}', '{"version": 1, "model_type": "x"}', "\xff"],
)
def test_a_damaged_plan(text: str) -> None:
    data = torch.tensor(list(text.encode("latin-1")), dtype=torch.uint8)
    with pytest.raises(CheckpointError, match="plan is unreadable"):
        Plan.from_tensor(data)


def test_a_plan_of_another_version() -> None:
    data = torch.tensor(list(b'{"version": 999}'), dtype=torch.uint8)
    with pytest.raises(CheckpointError, match="version 999, this mmptq reads 1"):
        Plan.from_tensor(data)
