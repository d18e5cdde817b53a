"""Which nodes of a float graph the layers of a model became."""

import re
from collections.abc import Iterable

import onnx

from mmptq.export.layers import PRODUCTS

# What tells the pieces of a graph apart, and the part of a model that was exported.
_AROUND = re.compile(r"^(part\d+/)?(model\.)?")
_WEIGHT = ".weight"


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
