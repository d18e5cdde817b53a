"""The ONNX graph of a run's float model, as tools/export.py makes it."""

import importlib.util
from typing import TYPE_CHECKING

from mmengine.logging import print_log

from mmptq.errors import MmptqError
from mmptq.runner.exporting import test_images
from mmptq.runner.measuring_runner import MeasuringRunner

if TYPE_CHECKING:
    import onnx


def float_graph(runner: MeasuringRunner) -> "onnx.ModelProto | None":
    """The graph of the float model, which is not written.

    Args:
        runner: With the prepared model, and its test built.

    Returns:
        ``None`` where onnx is not installed or the model cannot be exported.
    """
    if importlib.util.find_spec("onnx") is None:
        return None
    from mmptq.export.export import export_float
    from mmptq.export.kinds import make_part

    model = runner.model.eval()
    try:
        return export_float(model, make_part(model.model), test_images(runner, 1)[0])
    except MmptqError as error:
        print_log(f"modules are named in place of ONNX nodes: {error}", logger="current")
        return None
