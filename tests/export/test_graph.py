"""Post-processing of graphs: what is shared, dropped and packed."""

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from mmptq.export.graph import drop_unread, pack_int4, share_constants, turn_weights  # noqa: E402


def constant(name: str, value: Any) -> Any:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def model(nodes: list[Any], initializers: list[Any] = []) -> Any:  # noqa: B006
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def weight(name: str, codes: np.ndarray) -> list[Any]:
    return [
        constant(f"{name}_codes", codes),
        constant(f"{name}_scale", np.float32(0.5)),
        constant(f"{name}_zero", codes.dtype.type(0)),
        helper.make_node(
            "DequantizeLinear", [f"{name}_{part}" for part in ("codes", "scale", "zero")], [name]
        ),
    ]


CODES = np.array([-8, 7, 3], np.int8)


def test_equal_weights_become_one() -> None:
    nodes = [*weight("a", CODES), *weight("b", CODES), helper.make_node("Add", ["a", "b"], ["ab"])]
    graph = model([*nodes, helper.make_node("Add", ["ab", "x"], ["y"])])
    x = np.ones(3, np.float32)
    (expected,) = ReferenceEvaluator(graph).run(None, {"x": x})
    share_constants(graph.graph)
    drop_unread(graph.graph)
    onnx.checker.check_model(graph)
    assert [n.op_type for n in graph.graph.node] == ["DequantizeLinear", "Add", "Add"]
    assert len(graph.graph.initializer) == 3
    np.testing.assert_array_equal(ReferenceEvaluator(graph).run(None, {"x": x})[0], expected)


def test_other_weights_stay_apart() -> None:
    nodes = [*weight("a", CODES), *weight("b", CODES + np.int8(1) - np.int8(1) * 2)]
    nodes += [
        helper.make_node("Add", ["a", "b"], ["ab"]),
        helper.make_node("Add", ["ab", "x"], ["y"]),
    ]
    graph = model(nodes)
    share_constants(graph.graph)
    assert sum(n.op_type == "DequantizeLinear" for n in graph.graph.node) == 2


@pytest.mark.parametrize("other", [False, True])
def test_codes_of_codes(other: bool) -> None:
    """Q and a clip of what DQ gives are the codes themselves, in equal steps alone."""
    nodes, x = [], "x"
    for i in "ab":
        scale = np.float32(0.25 if other and i == "b" else 0.5)
        values = (scale, np.uint8(3), np.uint8(0), np.uint8(15))
        nodes += [constant(f"{i}{k}", value) for k, value in enumerate(values)]
        nodes += [
            helper.make_node("QuantizeLinear", [x, f"{i}0", f"{i}1"], [f"{i}q"]),
            helper.make_node("Clip", [f"{i}q", f"{i}2", f"{i}3"], [f"{i}c"]),
            helper.make_node("DequantizeLinear", [f"{i}c", f"{i}0", f"{i}1"], [f"{i}d"]),
        ]
        x = f"{i}d"
    graph = model([*nodes, helper.make_node("Add", ["ad", "bd"], ["y"])])
    values = np.linspace(-4, 12, 50, dtype=np.float32)
    (expected,) = ReferenceEvaluator(graph).run(None, {"x": values})
    share_constants(graph.graph)
    drop_unread(graph.graph)
    onnx.checker.check_model(graph)
    assert len(graph.graph.node) == (7 if other else 4)
    np.testing.assert_array_equal(ReferenceEvaluator(graph).run(None, {"x": values})[0], expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 1)])
def test_four_bits_are_stored_in_four(shape: tuple[int, ...], dtype: Any) -> None:
    low = -8 if dtype is np.int8 else 0
    codes = np.random.default_rng(0).integers(low, low + 16, shape).astype(dtype)
    graph = model([*weight("a", codes), helper.make_node("Add", ["a", "x"], ["y"])])
    share_constants(graph.graph)
    x = np.zeros(shape[-1], np.float32)
    (expected,) = ReferenceEvaluator(graph).run(None, {"x": x})
    assert pack_int4(graph) == 1
    onnx.checker.check_model(graph)
    kind = TensorProto.INT4 if dtype is np.int8 else TensorProto.UINT4
    packed = next(t for t in graph.graph.initializer if t.data_type == kind)
    assert len(packed.raw_data) == (codes.size + 1) // 2
    np.testing.assert_array_equal(ReferenceEvaluator(graph).run(None, {"x": x})[0], expected)


def test_wide_weights_are_not_packed() -> None:
    graph = model([*weight("a", CODES * np.int8(2)), helper.make_node("Add", ["a", "x"], ["y"])])
    share_constants(graph.graph)
    before = graph.SerializeToString()
    assert pack_int4(graph) == 0
    assert graph.SerializeToString() == before


def test_weights_of_linear_layers_are_turned() -> None:
    codes = np.random.default_rng(0).integers(-8, 8, (3, 2)).astype(np.int8)
    scale = np.array([0.5, 1.0, 2.0], np.float32)
    nodes = [
        constant("codes", codes),
        constant("scale", scale),
        constant("zero", np.zeros(3, np.int8)),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["w"], axis=0),
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    graph = model(nodes)
    x = np.array([1.0, -2.0], np.float32)
    (expected,) = ReferenceEvaluator(graph).run(None, {"x": x})
    np.testing.assert_allclose(expected, x @ (codes * scale[:, None]).T)
    turn_weights(graph.graph)
    share_constants(graph.graph)
    drop_unread(graph.graph)
    onnx.checker.check_model(graph)
    assert [node.op_type for node in graph.graph.node] == ["DequantizeLinear", "MatMul"]
    np.testing.assert_array_equal(ReferenceEvaluator(graph).run(None, {"x": x})[0], expected)
