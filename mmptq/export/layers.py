"""Single quantized layers of a graph, cut out to be run alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Codes:
    """How a tensor is quantized behind a layer.

    Args:
        scale: 0-dim, or ``(C,)`` along ``axis``.
        zero_point: The same shape.
        axis: Of the channels.
        low: Smallest code.
        high: Largest code.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    low: int
    high: int

    def of(self, values: np.ndarray) -> np.ndarray:
        """Codes as QuantizeLinear and Clip give them."""
        shape = [1] * values.ndim
        if self.scale.ndim:
            shape[self.axis] = -1
        scale, zero_point = self.scale.reshape(shape), self.zero_point.reshape(shape)
        codes = np.rint(values / scale) + zero_point.astype(np.float64)
        return np.clip(codes, self.low, self.high)


@dataclass(frozen=True)
class CutLayer:
    """A layer as a model of its own: from what it reads to what it writes.

    Args:
        name: Of the node that multiplies; torch's exporter names it by modules.
        model: Input ``x``, which it quantizes; output ``y``: codes where a quantizer reads the
            layer (behind a ReLU at most), as runtimes fuse it, else floats.
        relu: Whether a ReLU belongs to it.
        codes: Step, zero point and outermost codes of the outputs; ``None`` where they are floats.
    """

    name: str
    model: onnx.ModelProto
    relu: bool
    codes: Codes | None

    def model_for(self, shape: Sequence[int]) -> onnx.ModelProto:
        """The model for inputs of one shape."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        dims = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape)).type
        model.graph.input[0].type.CopyFrom(dims)
        return model

    def expected(self, output: np.ndarray) -> np.ndarray:
        """What the layer gives where its product and bias are ``output`` (float)."""
        output = np.maximum(output, 0) if self.relu else output
        return output if self.codes is None else self.codes.of(output)


def cut_layers(model: onnx.ModelProto) -> Iterator[CutLayer]:
    """Every product of a quantized input with a quantized weight, in the order of execution."""
    graph = model.graph
    writers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in PRODUCTS:
            continue
        before = [_chain(writers, name) for name in node.input[:2]]
        is_layer = before[0] and before[0][0].op_type == "QuantizeLinear" and before[1]
        if not is_layer or before[1][0].input[0] not in tensors:
            continue
        behind = _behind(readers, node, tensors)
        nodes = [*before[0], *before[1], node, *behind]
        relu = any(node.op_type == "Relu" for node in behind)
        codes = _codes(behind, tensors)
        yield CutLayer(node.name, _as_model(model, nodes, tensors), relu, codes)


def _chain(writers: dict[str, NodeProto], name: str) -> list[NodeProto]:
    """The quantizer that wrote ``name``: from Q, or from the codes of a weight, to DQ."""
    chain: list[NodeProto] = []
    while name in writers and writers[name].op_type in ("DequantizeLinear", "Clip", "Cast"):
        chain.insert(0, writers[name])
        name = chain[0].input[0]
    if chain and name in writers and writers[name].op_type == "QuantizeLinear":
        chain.insert(0, writers[name])
    return chain


def _behind(
    readers: dict[str, list[NodeProto]], node: NodeProto, tensors: dict[str, TensorProto]
) -> list[NodeProto]:
    """What alone reads ``node``, in this order: a bias, a ReLU, a Q, a clip of its codes."""
    found: list[NodeProto] = []
    kinds = ["QuantizeLinear", "Clip"]
    kinds = [*(["Add"] if node.op_type == "MatMul" else []), "Relu", *kinds]
    while len(following := readers.get((found or [node])[-1].output[0], [])) == 1:
        kind = following[0].op_type
        is_bias = kind == "Add" and any(name in tensors for name in following[0].input)
        if kind not in kinds or (kind == "Add" and not is_bias):
            break
        kinds = kinds[kinds.index(kind) + 1 :]
        found.append(following[0])
    return found


def _codes(nodes: list[NodeProto], tensors: dict[str, TensorProto]) -> Codes | None:
    quantizers = [node for node in nodes if node.op_type == "QuantizeLinear"]
    if not quantizers:
        return None
    scale, zero_point = (numpy_helper.to_array(tensors[name]) for name in quantizers[0].input[1:])
    limits = np.iinfo(zero_point.dtype)
    low, high = int(limits.min), int(limits.max)
    for node in nodes:
        if node.op_type == "Clip":
            low, high = (int(numpy_helper.to_array(tensors[name])) for name in node.input[1:])
    axis = next((a.i for a in quantizers[0].attribute if a.name == "axis"), 1)
    return Codes(scale, zero_point, axis, low, high)


def _as_model(
    model: onnx.ModelProto, nodes: list[NodeProto], tensors: dict[str, TensorProto]
) -> onnx.ModelProto:
    nodes = [_copy(node) for node in nodes]
    nodes[0].input[0] = "x"
    output = nodes[-1].output[0]
    quantized = nodes[-1].op_type in ("QuantizeLinear", "Clip")
    kind: int = TensorProto.FLOAT
    if quantized:
        quantizer = next(n for n in reversed(nodes) if n.op_type == "QuantizeLinear")
        kind = tensors[quantizer.input[2]].data_type
    nodes[-1].output[0] = "y"
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = "y" if name == output else name
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", kind, None)],
        [tensor for name, tensor in tensors.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
