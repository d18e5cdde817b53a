"""Where a model cannot be exported there is no graph, and nothing fails."""

import importlib.util
from typing import Any

import pytest

from mmptq.errors import MmptqError
from mmptq.export import export
from mmptq.runner.float_graph import float_graph


def test_graph_of_a_run(calibrated: Any) -> None:
    exported = float_graph(calibrated("retinanet").runner)
    assert exported is not None
    names = {node.name for node in exported.graph.node}
    assert {"/backbone/conv1/Conv", "/neck/lateral_convs.0/conv/Conv"} <= names
    assert not {node.op_type for node in exported.graph.node} & {"QuantizeLinear", "Round"}


def test_without_onnx_or_an_export(calibrated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = calibrated("retinanet").runner

    def fails(*_: Any) -> None:
        raise MmptqError("torch.onnx cannot export this")

    monkeypatch.setattr(export, "export_float", fails)
    assert float_graph(runner) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert float_graph(runner) is None
