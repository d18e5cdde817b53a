"""Where a model cannot be exported, nothing is named, and nothing fails."""

import importlib.util
from typing import Any

import pytest

from mmptq.errors import MmptqError
from mmptq.export import export
from mmptq.runner.onnx_nodes import onnx_nodes

LAYERS = ["backbone.conv1", "neck.lateral_convs.0.conv"]


def test_nodes_of_a_run(calibrated: Any) -> None:
    found = onnx_nodes(calibrated("retinanet").runner, LAYERS)
    assert found == {
        "backbone.conv1": ["/backbone/conv1/Conv"],
        "neck.lateral_convs.0.conv": ["/neck/lateral_convs.0/conv/Conv"],
    }


def test_without_onnx_or_an_export(calibrated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = calibrated("retinanet").runner

    def fails(*_: Any) -> None:
        raise MmptqError("torch.onnx cannot export this")

    monkeypatch.setattr(export, "export_float", fails)
    assert onnx_nodes(runner, LAYERS) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert onnx_nodes(runner, LAYERS) is None
