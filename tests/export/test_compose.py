"""Graphs of graphs compute what their parts do."""

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from mmptq.export.compose import chain, for_each_image  # noqa: E402

FLOAT = TensorProto.FLOAT


def model(
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    tensors: dict[str, Any],
) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def first() -> Any:
    """``t = 2 x``, by a constant that the others call the same."""
    nodes = [helper.make_node("Mul", ["x", "c"], ["t"], name="double")]
    return model(nodes, {"x": ["n", "m"]}, {"t": ["n", "m"]}, {"c": np.float32(2)})


def positives() -> Any:
    """Of one image: the sum of its positive numbers, of which each has another number."""
    nodes = [
        helper.make_node("Greater", ["t", "c"], ["mask"]),
        helper.make_node("Compress", ["t", "mask"], ["some"], axis=0),
        helper.make_node("ReduceSum", ["some"], ["y"], keepdims=0),
    ]
    return model(nodes, {"t": ["m"]}, {"y": []}, {"c": np.float32(0)})


def test_each_image_alone() -> None:
    graph = for_each_image(positives(), "sum")
    onnx.checker.check_model(graph)
    t = np.array([[1, -2, 3], [-1, -1, -1]], np.float32)
    assert ReferenceEvaluator(graph).run(None, {"t": t})[0].tolist() == [4.0, 0.0]
    dims = [d.dim_param for d in graph.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["n", "m"]


@pytest.mark.parametrize("images", [1, 3])
def test_one_after_the_other(images: int) -> None:
    graph = chain([first(), for_each_image(positives(), "sum")], ["y", "t"])
    onnx.checker.check_model(graph, full_check=True)
    assert [value.name for value in graph.graph.input] == ["x"]
    assert [node.name for node in graph.graph.node] == ["double", "sum"]
    x = np.random.default_rng(0).standard_normal((images, 5)).astype(np.float32)
    y, t = ReferenceEvaluator(graph).run(None, {"x": x})
    np.testing.assert_allclose(y, np.maximum(2 * x, 0).sum(1), rtol=1e-6)
    np.testing.assert_array_equal(t, 2 * x)


def test_an_input_of_two_parts_is_one() -> None:
    add = [helper.make_node("Add", ["t", "x"], ["y"])]
    second = model(add, {"t": ["n", "m"], "x": ["n", "m"]}, {"y": ["n", "m"]}, {})
    graph = chain([first(), second], ["y"])
    assert [value.name for value in graph.graph.input] == ["x"]
    x = np.ones((2, 2), np.float32)
    assert (ReferenceEvaluator(graph).run(None, {"x": x})[0] == 3).all()
