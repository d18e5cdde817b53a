"""A module as an ONNX graph with integer weights."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 20  # the newest of torch's exporter
INT4_OPSET = 21  # the first that stores 4-bit integers


def to_onnx(
    module: nn.Module,
    examples: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
) -> onnx.ModelProto:
    """Export ``module`` as it runs on ``examples``.

    Args:
        module: Takes and returns tensors. Inside of :func:`mmptq.export.qdq.emitting` its
            quantizers become Q and DQ.
        examples: A tensor for each input.
        inputs: Their names.
        outputs: Names of what the module returns.
        dynamic_axes: For inputs and outputs, axes of any size and the names of these sizes.

    Returns:
        The graph, with every constant and every quantized tensor in it once.
    """
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            tuple(examples),
            str(path),
            dynamo=False,  # the other exporter fails on what detectors do behind their heads
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in dynamic_axes.items()},
        )
        model = onnx.load(str(path))
    part_parameters(model.graph)
    turn_weights(model.graph)
    share_constants(model.graph)
    drop_unread(model.graph)
    return model


def part_parameters(graph: onnx.GraphProto) -> None:
    """Give each reader a parameter of its own again where the exporter made one of equal ones.

    It puts Identity nodes in place of the others, behind which no runtime looks for a scale.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    copies = []
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in tensors:
            copy = graph.initializer.add()
            copy.CopyFrom(tensors[node.input[0]])
            copy.name = node.output[0]
            copies.append(node)
    for node in copies:
        graph.node.remove(node)


def turn_weights(graph: onnx.GraphProto) -> None:
    """Store the weights of linear layers as MatMul reads them.

    The exporter transposes them in the graph, between DQ and MatMul, where runtimes look for none.
    """
    writers = {node.output[0]: node for node in graph.node if node.output}
    turned = []
    for node in graph.node:
        source = writers.get(node.input[0]) if node.op_type == "Transpose" else None
        if source is None or source.op_type != "DequantizeLinear":
            continue
        codes = writers.get(source.input[0])
        if codes is None or not _is_constant(codes):
            continue
        perm = next(a.ints for a in node.attribute if a.name == "perm")
        values = numpy_helper.to_array(codes.attribute[0].t).transpose(perm)
        name = f"{node.output[0]}_codes"
        constant = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))
        dequantize = NodeProto()
        dequantize.CopyFrom(source)
        dequantize.input[0], dequantize.output[0] = name, node.output[0]
        for attribute in dequantize.attribute:
            if attribute.name == "axis":
                attribute.i = list(perm).index(attribute.i)
        turned.append((node, constant, dequantize))
    for node, constant, dequantize in turned:
        at = list(graph.node).index(node)
        graph.node.remove(node)
        graph.node.insert(at, dequantize)
        graph.node.insert(at, constant)


def share_constants(graph: onnx.GraphProto) -> None:
    """Make initializers of all constants; equal nodes of quantizers read the same ones.

    A weight that several calls read is there once, and so are Q and DQ of a tensor that several
    layers read, also where one of them reads what another has quantized. Anything else stays apart,
    however equal: ONNX Runtime derives names of tensors that it adds from those of biases and zero
    points.
    """
    content: dict[str, Any] = {}
    for node in filter(_is_constant, graph.node):
        tensor = node.attribute[0].t
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = node.output[0]
        value = numpy_helper.to_array(tensor)
        content[node.output[0]] = (tensor.data_type, value.shape, value.tobytes())
    seen: dict[Any, str] = {}
    renamed: dict[str, str] = {}
    nodes = []
    codes: dict[Any, str] = {}  # what a quantizer would make of a tensor that codes were made of
    for node in graph.node:
        if _is_constant(node):
            continue
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Clip"):
            inputs = tuple(content.get(name, name) for name in node.input)
            key = (node.op_type, inputs, tuple(map(str, node.attribute)))
            first = codes.get(key) or seen.setdefault(key, node.output[0])
            _note_codes(codes, node, key)
            if first != node.output[0]:
                renamed[node.output[0]] = first
                continue
        nodes.append(node)
    _replace(graph.node, nodes)


def _note_codes(codes: dict[Any, str], node: NodeProto, key: Any) -> None:
    """DQ gives values that Q in the same steps makes the same codes of; a clip is one for good."""
    kind, inputs, attributes = key
    output = node.output[0]
    if kind == "DequantizeLinear":
        codes["QuantizeLinear", (output, *inputs[1:]), attributes] = node.input[0]
    elif kind == "Clip":
        codes[kind, (output, *inputs[1:]), attributes] = output


def drop_unread(graph: onnx.GraphProto) -> None:
    """Take away what nothing reads: float weights whose codes are there."""
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {value.name for value in graph.output}
        nodes = [n for n in graph.node if any(output in read for output in n.output)]
        if len(nodes) == len(graph.node):
            break
        _replace(graph.node, nodes)
    _replace(graph.initializer, [t for t in graph.initializer if t.name in read])


def pack_int4(model: onnx.ModelProto) -> int:
    """Store weights of at most 4 bits, signed or not, in 4 bits each; the graph computes the same.

    A cast back to 8 bits follows, which runtimes fold when they load the file: with the 4-bit
    tensor itself in front of DequantizeLinear they compute in float.

    Returns:
        How many weights were packed.
    """
    graph = model.graph
    weights = {n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    casts: list[NodeProto] = []
    tensors = []
    for tensor in graph.initializer:
        is_weight = tensor.name in weights and tensor.data_type in _PACKED
        codes = numpy_helper.to_array(tensor) if is_weight else np.empty(0)
        if not _fits_4_bits(codes):
            tensors.append(tensor)
            continue
        packed = f"{tensor.name}_int4"
        tensors.append(_int4(packed, codes, _PACKED[tensor.data_type]))
        casts.append(helper.make_node("Cast", [packed], [tensor.name], to=tensor.data_type))
    if casts:
        _replace(graph.initializer, tensors)
        _replace(graph.node, [*casts, *graph.node])
        model.opset_import[0].version = INT4_OPSET
        model.ir_version = max(model.ir_version, 10)
    return len(casts)


_PACKED = {TensorProto.INT8: TensorProto.INT4, TensorProto.UINT8: TensorProto.UINT4}


def _fits_4_bits(codes: np.ndarray) -> bool:
    low, high = (-8, 7) if codes.dtype == np.int8 else (0, 15)
    return bool(codes.size) and codes.min() >= low and codes.max() <= high


def _int4(name: str, codes: np.ndarray, kind: int) -> TensorProto:
    flat = codes.flatten().astype(np.int8)
    pairs = np.append(flat, np.zeros(len(flat) % 2, np.int8)).reshape(-1, 2)
    raw = ((pairs[:, 0] & 15) | ((pairs[:, 1] & 15) << 4)).astype(np.uint8)
    return helper.make_tensor(name, kind, codes.shape, raw.tobytes(), raw=True)


def _is_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and node.attribute[0].name == "value"


def _replace(field: Any, values: Sequence[Any]) -> None:
    values = list(values)
    del field[:]
    field.extend(values)
