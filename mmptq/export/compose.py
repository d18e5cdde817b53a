"""Graphs put together of several: one after the other, and one for each image of a batch."""

from collections.abc import Sequence

import onnx
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, compose, helper

BATCH = "n"


def for_each_image(body: ModelProto, name: str) -> ModelProto:
    """A graph that runs ``body`` on each image of a batch.

    Args:
        body: Graph of one image.
        name: Of the node.

    Returns:
        The same inputs and outputs, with a first axis for the images.
    """
    graph = body.graph
    inputs, outputs = ([value.name for value in values] for values in (graph.input, graph.output))
    node = helper.make_node(
        "Scan", inputs, outputs, name=name, body=graph, num_scan_inputs=len(inputs)
    )
    # Names in the body hide equal ones outside.
    inner = compose.add_prefix(body, f"{name}/").graph
    node.attribute[0].CopyFrom(helper.make_attribute("body", inner))
    whole = helper.make_graph(
        [node], name, [_batched(v) for v in graph.input], [_batched(v) for v in graph.output]
    )
    return helper.make_model(whole, opset_imports=body.opset_import, ir_version=body.ir_version)


def chain(models: Sequence[ModelProto], outputs: Sequence[str]) -> ModelProto:
    """One graph of several; each takes what earlier ones give under the same names.

    Args:
        models: In the order of execution. Only their inputs and outputs are known by name to each
            other.
        outputs: Of the whole.
    """
    nodes: list[NodeProto] = []
    values: dict[str, ValueInfoProto] = {}
    inputs: list[ValueInfoProto] = []
    tensors: list[onnx.TensorProto] = []
    for i, model in enumerate(models):
        graph = _with_own_names(model, f"part{i}/")
        inputs += [v for v in graph.input if v.name not in values]
        values |= {v.name: v for v in [*graph.input, *graph.output]}
        nodes += graph.node
        tensors += graph.initializer
    whole = helper.make_graph(nodes, "detector", inputs, [values[n] for n in outputs], tensors)
    first = models[0]
    return helper.make_model(whole, opset_imports=first.opset_import, ir_version=first.ir_version)


def _with_own_names(model: ModelProto, prefix: str) -> GraphProto:
    """Names of nodes stay, they are those of layers."""
    return compose.add_prefix(
        model, prefix, rename_nodes=False, rename_inputs=False, rename_outputs=False
    ).graph


def _batched(value: ValueInfoProto) -> ValueInfoProto:
    tensor = value.type.tensor_type
    dims = [d.dim_param or d.dim_value for d in tensor.shape.dim]
    return helper.make_tensor_value_info(value.name, tensor.elem_type, [BATCH, *dims])
