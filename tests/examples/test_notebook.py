"""The notebook's cells run as they stand, outside the clone."""

import json
from typing import Any

import pytest
from mmengine.runner import Runner

from mmptq.datasets import make_digits
from tests.tiny_project import REPO


def test_notebook_runs(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPTQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    # Asking every compiler for its version takes longer than all the rest.
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)
    make_digits(tmp_path / "cache/demo", num_images={"train": 6, "val": 3})
    cells = json.loads((REPO / "examples/quantize.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert [row.bits for row in names["small"].results.rows] == ["W32A32", "W4A4", "W4A4"]
    assert names["found"].results.rows[-1].metrics["bbox_mAP"] > 0.3
    float_row, *_, quantized = names["classifier"].results.rows
    assert float_row.metrics["top1"] > 80
    assert quantized.metrics["top1"] > float_row.metrics["top1"] - 20
    assert names["checked"].products == 3
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"cache", "retinanet_w8a8.pth", "classifier.onnx", "classifier.json"}
