"""Names of the ONNX nodes that the layers of a model become, as tools/export.py writes them."""

import importlib.util
from collections.abc import Iterable

from mmengine.logging import print_log

from mmptq.errors import MmptqError
from mmptq.runner.exporting import test_images
from mmptq.runner.measuring_runner import MeasuringRunner


def onnx_nodes(runner: MeasuringRunner, layers: Iterable[str]) -> dict[str, list[str]] | None:
    """The nodes of each layer in the graph of the float model, which is not written.

    Args:
        runner: With the prepared model, and its test built.
        layers: Module names in the detector.

    Returns:
        ``None`` where onnx is not installed or the model cannot be exported.
    """
    if importlib.util.find_spec("onnx") is None:
        return None
    from mmptq.export.export import export_float
    from mmptq.export.kinds import make_part
    from mmptq.export.nodes import nodes_by_layer

    model = runner.model.eval()
    try:
        exported = export_float(model, make_part(model.model), test_images(runner, 1)[0])
    except MmptqError as error:
        print_log(f"modules are named in place of ONNX nodes: {error}", logger="current")
        return None
    return nodes_by_layer(exported.graph, layers)
