"""What spares the worst layers, in the forms of three tools."""

import re
from typing import Any

from mmptq.analysis.sensitivity.exclude import excluded_layers, ignored_scopes, sparing_qconfig
from mmptq.models import QConfig
from tests.calibration_support import W4A4, MakeContext, make_context  # noqa: F401
from tests.sensitivity_support import record

TARGET: dict[str, Any] = {**W4A4, "target": "onnxruntime"}


def test_the_qconfig_gives_more_bits_to_these_alone(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", ranges=False)
    before = context.model.plan
    assert before is not None
    worst = [record("neck.fpn_convs.0.conv"), record("backbone.layer2.0.conv1", which="act")]
    old = {**W4A4, "overrides": [dict(pattern="backbone.layer3.*", act=dict(num_bits=6))]}
    new = sparing_qconfig(worst, before, old)
    plan = context.adapter.plan(QConfig.parse(new))
    bits = {layer.name: layer.weight.num_bits for layer in plan.layers if layer.weight}
    sites = {site.name: site.spec.num_bits for site in plan.sites}
    assert bits["neck.fpn_convs.0.conv"] == 8 and bits["neck.fpn_convs.1.conv"] == 4
    assert bits["backbone.layer2.0.conv1"] == 4 and sites["backbone.layer2.0.conv1:0"] == 8
    assert sites["backbone.layer3.0.conv2:0"] == 6


def test_other_tools_leave_out_whole_layers(make_context: MakeContext) -> None:  # noqa: F811
    plan = make_context("retinanet", qconfig=TARGET, ranges=False).model.plan
    assert plan is not None
    output = "backbone.layer2.0.conv2.output"
    both = ("bbox_head.cls_convs.0.conv", "bbox_head.reg_convs.0.conv")
    worst = [
        record("a", which="act", layers=both),
        record(output, which="act"),
        record("bbox_head.reg_convs.0.conv"),
    ]
    assert excluded_layers(worst, plan) == [*both, "backbone.layer2.0.conv2"]


def test_names_are_those_of_nodes_where_they_are_known() -> None:
    layers = ["a", "b"]
    nodes = {"a": ["/a/Conv", "/a_1/Conv"], "b": []}
    found = ignored_scopes(layers, nodes, ["/Mul"], ["/a/Conv", "/Add"])
    assert found["names_are"] == "nodes of the float ONNX graph"
    assert found["nodes_to_exclude"] == ["/a/Conv", "/a_1/Conv", "/Add"]
    assert found["layers"] == layers and found["without_node"] == ["b"]
    patterns = [re.compile(text) for text in found["nncf_ignored_scope"]["patterns"]]
    for known in ("/a/Conv", "/a_1/Conv", "/a/Conv/WithoutBiases", "/Mul"):
        assert sum(bool(pattern.match(known)) for pattern in patterns) == 1
    for other in ("/Add", "/a/Conv_1", "/model/a/Conv"):
        assert not any(pattern.match(other) for pattern in patterns)


def test_modules_are_paths_for_nncf_and_nothing_for_onnxruntime() -> None:
    layers = ["neck.convs.0.conv", "b"]
    for nothing in (None, {}, {"neck.convs.0.conv": [], "b": []}):
        found = ignored_scopes(layers, nothing)
        assert found["names_are"] == "modules" and found["without_node"] == layers
        assert found["nodes_to_exclude"] == []
        first, _ = (re.compile(text) for text in found["nncf_ignored_scope"]["patterns"])
        assert first.match("neck/convs/0/conv/conv2d/0")
        assert not first.match("neck/convs/0/conv/act/relu/0")
