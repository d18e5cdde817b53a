"""What spares the most sensitive layers: here, in NNCF, and in ONNX Runtime's quantizer."""

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


def ignored_scopes(layers: Sequence[str], nodes: Mapping[str, Sequence[str]] | None) -> Any:
    """What NNCF and ONNX Runtime take, in JSON's types.

    Args:
        layers: To leave in float.
        nodes: Names of each layer's ONNX nodes, ``None`` where the model was not exported.

    Returns:
        ``names_are``, which says what the names are; ``layers``; ``without_node``, layers that no
        node is known of; ``nncf_ignored_scope``, the arguments of ``nncf.IgnoredScope``;
        ``nodes_to_exclude``, of ONNX Runtime's ``quantize_static``.
    """
    nodes = nodes or {}
    names = [node for layer in layers for node in nodes.get(layer, ())] or list(layers)
    missing = [layer for layer in layers if not nodes.get(layer)]
    return {
        "names_are": "modules" if len(missing) == len(layers) else "nodes of the float ONNX graph",
        "layers": list(layers),
        "without_node": missing,
        "nncf_ignored_scope": {"names": names},
        "nodes_to_exclude": names,
    }
