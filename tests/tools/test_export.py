"""tools/export.py, and what tools/test.py and tools/quantize.py do with an exported model."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_project import REPO

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """``tool('export', config, checkpoint, ...)``."""

    def run(name: str, *arguments: Any) -> None:
        arguments = (*arguments, "--work-dir", tmp_path / name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        runpy.run_path(str(REPO / f"tools/{name}.py"), run_name="__main__")

    return run


def test_an_exported_model_reaches_the_simulations_map(
    tool: Any, calibrated: Any, tiny_project: Any, tmp_path: Path, capsys: Any
) -> None:
    config, run = tiny_project("retinanet").config, calibrated("retinanet")
    path, out = tmp_path / "m.onnx", tmp_path / "metrics.json"
    # Whatever the CPU makes of 8-bit weights: the check itself is tested in tests/export.
    try:
        tool("export", config, run.checkpoint, "--output", path, "--images", 2)
    except SystemExit as stopped:
        assert "w8a8_cpu.py" in str(stopped)
    found = json.loads(path.with_suffix(".json").read_text())
    assert found["runtime"] == "openvino" and found["integers"] == found["products"] > 0
    assert "products in integers" in capsys.readouterr().out
    assert not list(tmp_path.glob(".*.onnx"))
    tool("test", config, path, "--runtime", "openvino", "--threads", 1, "--out", out)
    metrics = json.loads(out.read_text())
    assert metrics["openvino/ms"] > 0
    assert metrics["coco/bbox_mAP"] == pytest.approx(run.metrics["bbox_mAP"], abs=0.1)


def test_one_command_quantizes_exports_and_measures(
    tool: Any, tiny_project: Any, tmp_path: Path
) -> None:
    project, target = tiny_project("retinanet"), "qconfig.target.type=openvino"
    options = ("--cfg-options", target, "qconfig.target.reduce_range=True")
    tool("quantize", project.config, "--export", "openvino", "--skip-baseline", *options)
    folder = tmp_path / "quantize"
    assert fixed_sizes(folder / "quantized.onnx") == [False, True, False, False]
    rows = json.loads((folder / "results.json").read_text())["rows"]
    simulated, real = rows[-2:]
    assert real["method"] == f"{simulated['method']} in openvino" and real["ms"] > 0
    assert real["runtime"] == "openvino" and "runtime" not in simulated
    assert real["size_mb"] == pytest.approx((folder / "quantized.onnx").stat().st_size / 1e6)
    assert real["bbox_mAP"] == pytest.approx(simulated["bbox_mAP"], abs=0.1)
    report = (folder / "report.html").read_text()
    assert "Exported: detector in openvino" in report and f">{real['method']}<" in report


def test_a_file_for_one_size_says_so_of_images_of_another(
    tool: Any, tiny_project: Any, tmp_path: Path
) -> None:
    """What was done before is there."""
    options = ("--skip-baseline", "--skip-float", "--cfg-options", "qconfig.target.type=openvino")
    with pytest.raises(SystemExit, match=r"image is 1x3x64x96, and .* 1x3x96x96 .*--static"):
        tool(
            "quantize",
            *(tiny_project("retinanet").config, "--export", "openvino", "--static", *options),
            "qconfig.target.reduce_range=True",
        )
    folder = tmp_path / "quantize"
    assert fixed_sizes(folder / "quantized.onnx") == [True] * 4
    assert json.loads((folder / "results.json").read_text())["rows"]


def fixed_sizes(path: Path) -> list[bool]:
    """Of the images' dimensions."""
    (images, *_) = onnx.load(str(path)).graph.input
    return [size.HasField("dim_value") for size in images.type.tensor_type.shape.dim]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "tensorrt"], "--target tensorrt: the input of .* signed|zero point"),
        (
            ["--part", "classifier"],
            "--part classifier: .* can be exported: detector, heads",
        ),
        (["--images", "0"], "--images 0"),
        (["--output", "/proc/m.onnx"], "cannot write /proc/m.onnx"),
    ],
)
def test_refusals_leave_nothing(
    arguments: list[str], message: str, tool: Any, calibrated: Any, tiny_project: Any
) -> None:
    checkpoint = calibrated("retinanet").checkpoint
    before = set(checkpoint.parent.iterdir())
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        tool("export", tiny_project("retinanet").config, checkpoint, *arguments)
    assert set(checkpoint.parent.iterdir()) == before


def test_a_float_checkpoint_is_refused(tool: Any, tiny_project: Any) -> None:
    project = tiny_project("retinanet")
    with pytest.raises(SystemExit, match="error: the checkpoint is not quantized"):
        tool("export", project.config, project.checkpoint)


def test_a_file_and_a_runtime_belong_together(
    tool: Any, calibrated: Any, tiny_project: Any, tmp_path: Path
) -> None:
    config, checkpoint = tiny_project("retinanet").config, calibrated("retinanet").checkpoint
    with pytest.raises(SystemExit, match=r"--runtime openvino executes \.onnx files"):
        tool("test", config, checkpoint, "--runtime", "openvino")
    with pytest.raises(SystemExit, match=r"name what executes it, --runtime onnxruntime"):
        tool("test", config, tmp_path / "m.onnx")
