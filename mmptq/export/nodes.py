"""Which nodes of a float graph the layers of a model became."""

import re
from collections.abc import Iterable, Mapping

import onnx

from mmptq.export.layers import PRODUCTS

# What tells the pieces of a graph apart, and the part of a model that was exported.
_AROUND = re.compile(r"^(part\d+/)?(model\.)?")
_WEIGHT = ".weight"

# Operators whose output is no finer than what they read first: where that is rounded, so is this.
_PASSING = {
    *("Clip", "Flatten", "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Pad", "Relu", "Reshape"),
    *("Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
}

Writers = Mapping[str, onnx.NodeProto]


def nodes_by_layer(graph: onnx.GraphProto, layers: Iterable[str]) -> dict[str, list[str]]:
    """Names of the nodes that multiply by each layer's weight, one a call.

    The exporter names weights as the model does, whatever it calls the nodes.

    Args:
        graph: Of the float model (:func:`mmptq.export.export.export_float`).
        layers: Module names in the detector. One whose weight the exporter turned over is found at
            no node, nor is an operand, which has none.
    """
    found: dict[str, list[str]] = {layer: [] for layer in layers}
    for node in graph.node:
        if node.op_type in PRODUCTS:
            names = [_AROUND.sub("", name).removesuffix(_WEIGHT) for name in node.input[1:2]]
            for name in names:
                if name in found:
                    found[name].append(node.name)
    return found


def nodes_touching_inputs(graph: onnx.GraphProto, names: Iterable[str]) -> list[str]:
    """Names of all nodes that read or write what the nodes ``names`` read.

    Where a node only passes on what it reads (an activation function, a pool, a concatenation),
    those that touch that, too.

    Args:
        graph: That holds the nodes.
        names: Of nodes that multiply.
    """
    tensors = _sources(graph, names)
    touching = [node for node in graph.node if tensors & {*node.input, *node.output}]
    return [node.name for node in touching if node.name]


def nodes_making_inputs(graph: onnx.GraphProto, names: Iterable[str]) -> list[str]:
    """Names of the nodes, of those without a weight, that compute what the nodes ``names`` read.

    Additions, and activation functions that are a product; a pool or a ReLU chooses.

    Args:
        graph: That holds the nodes.
        names: Of nodes that multiply.
    """
    tensors = _sources(graph, names)
    making = [node for node in graph.node if tensors & {*node.output}]
    apart = {*PRODUCTS, *_PASSING, "Concat"}
    return [node.name for node in making if node.name and node.op_type not in apart]


def _sources(graph: onnx.GraphProto, names: Iterable[str]) -> set[str]:
    """Names of the tensors that nodes read, and of those that were only passed on to them."""
    wanted = set(names)
    writers = {name: node for node in graph.node for name in node.output}
    tensors: set[str] = set()
    todo = [node.input[0] for node in graph.node if node.name in wanted]
    while todo:
        tensor = todo.pop()
        if tensor not in tensors:
            tensors.add(tensor)
            todo += _passed_on(writers[tensor], writers) if tensor in writers else []
    return tensors


def _passed_on(node: onnx.NodeProto, writers: Writers) -> list[str]:
    """Names of the tensors than which the node's output is no finer."""
    if node.op_type in _PASSING:
        return [node.input[0]]
    if node.op_type == "Concat":
        return list(node.input)
    if node.op_type == "Mul":  # a SiLU: a tensor times a function of it
        first, second = node.input
        for tensor, gate in ((first, second), (second, first)):
            while gate in writers and len(writers[gate].input) == 1:
                gate = writers[gate].input[0]
                if gate == tensor:
                    return [tensor]
    return []
