"""Layers are found in graphs that were really exported."""

import onnx
import pytest
import torch
from onnx import helper

from mmptq.export.export import export_float
from mmptq.export.kinds import make_part
from mmptq.export.nodes import nodes_by_layer, nodes_making_inputs, nodes_touching_inputs
from mmptq.export.parts import INPUT, SIZE
from tests.calibration_support import MakeContext, make_context  # noqa: F401

CALLS = {  # of each layer, at five levels of a pyramid, or four and the regions
    "retinanet": {"backbone.conv1": 1, "bbox_head.cls_convs.0.conv": 5, "bbox_head.retina_reg": 5},
    "faster_rcnn": {
        "backbone.layer2.0.downsample.0": 1,
        "rpn_head.rpn_conv": 5,
        "roi_head.bbox_head.fc_cls": 1,
    },
}


@pytest.mark.parametrize("family", CALLS)
def test_one_node_a_call(family: str, make_context: MakeContext) -> None:  # noqa: F811
    model = make_context(family, ranges=False).model
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    example = {INPUT: image, SIZE: torch.tensor([[128.0, 128.0]])}
    exported = export_float(model, make_part(model.model), example)
    layers = [name for name, _ in model.quant_layers()]
    found = nodes_by_layer(exported.graph, layers)
    assert {name: len(found[name]) for name in CALLS[family]} == CALLS[family]
    assert all(found.values())
    names = [name for nodes in found.values() for name in nodes]
    assert len(set(names)) == len(names)
    assert set(names) <= {node.name for node in exported.graph.node}
    assert found["neck.fpn_convs.1.conv"] == ["/neck/fpn_convs.1/conv/Conv"]


def test_what_has_no_node_has_none() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "part1/model.a.weight"], ["y"], name="one"),
        helper.make_node("Conv", ["x", "model.ab.weight"], ["y"], name="two"),
        helper.make_node("Add", ["y", "model.b.weight"], ["z"], name="three"),
        helper.make_node("MatMul", ["z", "onnx::MatMul_7"], ["w"], name="four"),
    ]
    graph = onnx.GraphProto(node=nodes)
    assert nodes_by_layer(graph, ["a", "b", "c"]) == {"a": ["one"], "b": [], "c": []}


def test_all_that_touches_a_tensor_is_found_through_what_passes_it_on() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y"], name="made"),
        helper.make_node("Relu", ["y"], ["z"], name="passed"),
        helper.make_node("Conv", ["z", "b"], ["u"], name="reader"),
        helper.make_node("Add", ["z", "x"], ["v"], name="beside"),
        helper.make_node("Conv", ["v", "c"], ["w"], name="after"),
    ]
    graph = onnx.GraphProto(node=nodes)
    found = ["made", "passed", "reader", "beside"]
    assert nodes_touching_inputs(graph, ["reader"]) == found
    assert nodes_touching_inputs(graph, ["after"]) == ["beside", "after"]
    assert nodes_touching_inputs(graph, []) == []


def test_what_makes_a_tensor_is_found_but_for_products_and_what_passes_on() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y"], name="first"),
        helper.make_node("Sigmoid", ["y"], ["s"], name="gate"),
        helper.make_node("Mul", ["y", "s"], ["z"], name="activation"),
        helper.make_node("Add", ["z", "x"], ["v"], name="added"),
        helper.make_node("Conv", ["x", "b"], ["w"], name="second"),
        helper.make_node("Concat", ["v", "z", "w"], ["c"], name="joined", axis=1),
        helper.make_node("Resize", ["c", "", "scales"], ["r"], name="enlarged"),
        helper.make_node("Conv", ["r", "c"], ["o"], name="reader"),
        helper.make_node("Conv", ["y", "d"], ["p"], name="before"),
    ]
    graph = onnx.GraphProto(node=nodes)
    assert nodes_making_inputs(graph, ["reader"]) == ["activation", "added"]
    assert nodes_making_inputs(graph, ["before"]) == []
    assert nodes_touching_inputs(graph, ["reader"]) == [node.name for node in nodes]
    assert nodes_touching_inputs(graph, ["before"]) == ["first", "gate", "activation", "before"]


def test_a_product_of_two_tensors_passes_on_neither() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y"], name="first"),
        helper.make_node("Conv", ["y", "b"], ["g"], name="attention"),
        helper.make_node("Sigmoid", ["g"], ["s"], name="gate"),
        helper.make_node("Mul", ["s", "y"], ["z"], name="weighted"),
        helper.make_node("Conv", ["z", "c"], ["o"], name="reader"),
    ]
    graph = onnx.GraphProto(node=nodes)
    assert nodes_making_inputs(graph, ["reader"]) == ["weighted"]
    assert nodes_touching_inputs(graph, ["reader"]) == ["weighted", "reader"]
