"""What spares the most sensitive layers: here, in NNCF, and in ONNX Runtime's quantizer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmptq.analysis.blame import overrides
from mmptq.analysis.sensitivity.record import Sensitivity
from mmptq.models import Plan


def sparing_qconfig(
    worst: Sequence[Sensitivity], plan: Plan, qconfig: Mapping[str, Any]
) -> dict[str, Any]:
    """``qconfig`` with more bits for the quantizers ``worst``; the rest of it stays.

    Args:
        worst: Of the model.
        plan: That it was made by.
        qconfig: That the plan was made from, in plain values.
    """
    first = overrides(worst, plan)
    return {**qconfig, "overrides": [*first, *(qconfig.get("overrides") or [])]}


def excluded_layers(worst: Sequence[Sensitivity], plan: Plan) -> list[str]:
    """Module names of the layers that a tool would leave in float, the worst first.

    Other tools leave out operators, not tensors: the layer of a weight, all readers of an
    activation. What reads an output is a part of its layer.
    """
    hosts = {layer.name: layer.host for layer in plan.layers}
    return list(dict.fromkeys(hosts[name] for record in worst for name in record.layers))


def ignored_scopes(
    layers: Sequence[str],
    nodes: Mapping[str, Sequence[str]] | None,
    making: Sequence[str] = (),
    touching: Sequence[str] = (),
) -> dict[str, Any]:
    """What NNCF and ONNX Runtime take, in JSON's types.

    NNCF rounds what an operator reads for that operator; without it, nothing is rounded there. But
    in OpenVINO it rounds what the multiplication in a SiLU reads, which is as bad as to round its
    output: so what makes a tensor that is to be spared is left out, too. OpenVINO splits a
    convolution with a bias in two and gives the node's name to the addition, so patterns name both.
    In a torch model NNCF's names are paths of modules.

    ONNX Runtime rounds a tensor if any node that it quantizes reads or writes it, and passes over
    names that it does not find: modules would do nothing there.

    Args:
        layers: To leave in float.
        nodes: Names of each layer's ONNX nodes, ``None`` where the model was not exported.
        making: Nodes without a weight that make the activations to be spared.
        touching: Nodes that touch the activations to be spared.

    Returns:
        ``names_are``, which says what the names are; ``layers``; ``without_node``, layers that no
        node is known of; ``nncf_ignored_scope``, the arguments of ``nncf.IgnoredScope``;
        ``nodes_to_exclude``, of ONNX Runtime's ``quantize_static``.
    """
    nodes = nodes or {}
    named = [node for layer in layers for node in nodes.get(layer, ())]
    if named:
        ignored = dict.fromkeys([*named, *making])
        patterns = [f"^{re.escape(name)}(/WithoutBiases)?$" for name in ignored]
    else:
        patterns = [rf"^{re.escape(name.replace('.', '/'))}/\w+/\d+$" for name in layers]
    return {
        "names_are": "nodes of the float ONNX graph" if named else "modules",
        "layers": list(layers),
        "without_node": [layer for layer in layers if not nodes.get(layer)],
        "nncf_ignored_scope": {"patterns": patterns},
        "nodes_to_exclude": list(dict.fromkeys([*named, *touching])) if named else [],
    }
