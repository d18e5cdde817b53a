"""How much of a family becomes a graph."""

import warnings
from pathlib import Path
from typing import Any

from mmptq.engine.incremental.probing import float_form
from mmptq.errors import MmptqError
from mmptq.export.checks import check_exportable
from mmptq.export.export import export_float, export_model, write
from mmptq.export.graph_check import check_graph
from mmptq.export.kinds import make_part
from mmptq.export.network import SessionNetwork
from mmptq.runner.exporting import test_images as images_of
from mmptq.runtime import open_session
from mmptq.targets import TARGETS
from tests.conformance.recipes import FamilyRun

RUNTIME = "onnxruntime"
CHOICES = (("detector", False), ("detector", True), ("heads", False), ("heads", True))


def most(run: FamilyRun) -> tuple[str, list[str]]:
    """The first that works, and why those before it do not.

    In this order: ``detector`` (images of any size to boxes), ``detector --static`` (of one size),
    ``heads`` (to the raw outputs), ``heads --static``, ``no``.
    """
    reasons = []
    for part, static in CHOICES:
        name = f"{part} --static" if static else part
        try:
            _export(run, part, static)
        except MmptqError as error:
            reasons.append(f"{name}: {error}")
        else:
            return name, reasons
    return "no", reasons


def _export(run: FamilyRun, part_name: str, static: bool) -> None:
    """Export, and compare the float graph with the float model; run the quantized one.

    Raises:
        MmptqError: This is refused, or finds other things.
    """
    runner: Any = run.mmse[0]
    model, target = runner.model.eval(), TARGETS[RUNTIME]
    check_exportable(model, target)
    part, examples = make_part(model.model, part_name), images_of(runner, 2)
    if static:
        examples = examples[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        float_graph = export_float(model, part, examples[0], static)
        with float_form(model):
            check_graph(part, float_graph, RUNTIME, examples, static)
        graph = export_model(model, part, runner.cfg, target, examples[0], (), static)
    path = Path(runner.work_dir) / "m.onnx"
    write(graph, path)
    network = SessionNetwork(open_session(path, RUNTIME, threads=1), part.inputs)
    for example in examples:
        network(*part.arguments(example))
