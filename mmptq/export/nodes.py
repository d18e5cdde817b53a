"""Which nodes of a float graph the layers of a model became."""

import re
from collections.abc import Iterable

import onnx

from mmptq.export.layers import PRODUCTS

# What tells the pieces of a graph apart, and the part of a model that was exported.
_AROUND = re.compile(r"^(part\d+/)?(model\.)?")
_WEIGHT = ".weight"

# Operators whose output is no finer than what they read: where that is rounded, so is this.
_PASSING = {
    *("Clip", "Flatten", "Identity", "LeakyRelu", "MaxPool", "Pad", "Relu", "Reshape", "Resize"),
    *("Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
}


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

    Where a node only passes on what it reads (a ReLU, a pool), those that touch that, too.

    Args:
        graph: That holds the nodes.
        names: Of nodes that multiply.
    """
    wanted = set(names)
    writer = {name: node for node in graph.node for name in node.output}
    tensors: set[str] = set()
    todo = [node.input[0] for node in graph.node if node.name in wanted]
    while todo:
        tensor = todo.pop()
        if tensor in tensors:
            continue
        tensors.add(tensor)
        if tensor in writer and writer[tensor].op_type in _PASSING:
            todo.append(writer[tensor].input[0])
    touching = [node for node in graph.node if tensors & {*node.input, *node.output}]
    return [node.name for node in touching if node.name]
