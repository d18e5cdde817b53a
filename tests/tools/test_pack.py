"""Packed checkpoints: written by tools/pack.py and tools/quantize.py, opened by every tool."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import mmdet
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.dataset import pseudo_collate

from mmptq.models import PACKED_KEY
from tests.tiny_project import REPO, Calibrated

MMDET_TEST = Path(mmdet.__file__).parent / ".mim/tools/test.py"
FAMILIES = ("retinanet", "faster_rcnn")


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """``tool('pack', config, checkpoint, ...)``."""

    def run(name: str, *arguments: Any) -> None:
        arguments = (*arguments, "--work-dir", tmp_path / name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        runpy.run_path(str(REPO / f"tools/{name}.py"), run_name="__main__")

    return run


@pytest.fixture
def pack(tool: Any, calibrated: Any, tiny_project: Any, tmp_path: Path) -> Any:
    """``pack(family)``: a finished run and its checkpoint, packed."""

    def run(family: str) -> tuple[Calibrated, Path]:
        path = tmp_path / "packed.pth"
        done = calibrated(family)
        tool("pack", tiny_project(family).config, done.checkpoint, "--output", path)
        return done, path

    return run


def numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key.rpartition("/")[2]: value for key, value in metrics.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_opens_it_to_the_same(
    family: str, pack: Any, tool: Any, tiny_project: Any, tmp_path: Path
) -> None:
    run, path = pack(family)
    saved = torch.load(path, weights_only=True)
    assert list(saved["state_dict"]) == [PACKED_KEY]
    assert list(saved["meta"]["dataset_meta"]["classes"]) == ["ant", "bee", "cat", "dog"]
    assert path.stat().st_size < 0.5 * run.checkpoint.stat().st_size
    for config in (tiny_project(family).config, tiny_project(family).float_config):
        tool("test", config, path, "--out", tmp_path / "metrics.json")
        metrics = numbers(json.loads((tmp_path / "metrics.json").read_text()))
        assert {key: metrics[key] for key in run.metrics} == run.metrics
    dataset, image = run.runner.test_dataloader.dataset, str(tiny_project(family).image(1))
    wanted = run.runner.model.test_step(pseudo_collate([dataset[1]]))[0].pred_instances
    model = init_detector(str(run.config), str(path), device="cpu")
    inferencer = DetInferencer(str(run.config), str(path), device="cpu", show_progress=False)
    (sample,) = inferencer(image, return_datasamples=True, no_save_vis=True)["predictions"]
    for found in (inference_detector(model, image).pred_instances, sample.pred_instances):
        assert len(found) == len(wanted) > 0
        assert all(torch.equal(found[key], wanted[key]) for key in ("bboxes", "scores", "labels"))


def test_mmdetections_test_script_gives_the_same_metrics(pack: Any, tmp_path: Path) -> None:
    run, path = pack("retinanet")
    done = subprocess.run(
        [sys.executable, MMDET_TEST, run.config, path, "--work-dir", tmp_path],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = dict(re.findall(r"coco/(bbox_mAP\w*): (-?[\d.]+)", done.stdout + done.stderr))
    assert {key: float(printed[key]) for key in run.metrics} == run.metrics


def test_quantize_packs_at_once_and_a_finished_run_later(
    pack: Any, tool: Any, tiny_project: Any, tmp_path: Path
) -> None:
    _, path = pack("retinanet")
    config, folder = tiny_project("retinanet").config, tmp_path / "quantize"
    tool("quantize", config, "--packed")
    states = [
        torch.load(p, weights_only=True)["state_dict"] for p in (path, folder / "quantized.pth")
    ]
    assert torch.equal(states[0][PACKED_KEY], states[1][PACKED_KEY])
    tool("quantize", config, "--resume")
    assert len(torch.load(folder / "quantized.pth", weights_only=True)["state_dict"]) > 100
    tool("quantize", config, "--resume", "--packed")
    again = torch.load(folder / "quantized.pth", weights_only=True)["state_dict"]
    assert torch.equal(again[PACKED_KEY], states[0][PACKED_KEY])


def test_packing_what_is_packed_changes_nothing(
    pack: Any, tool: Any, tiny_project: Any, tmp_path: Path, capsys: Any
) -> None:
    _, path = pack("retinanet")
    tool("pack", tiny_project("retinanet").config, path)
    again = tmp_path / "packed_packed.pth"
    assert f"{again}: 0." in capsys.readouterr().out
    one, two = (torch.load(p, weights_only=True) for p in (path, again))
    assert torch.equal(one["state_dict"][PACKED_KEY], two["state_dict"][PACKED_KEY])
    assert one["meta"] == two["meta"]


def test_export_takes_it(pack: Any, tool: Any, tiny_project: Any, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    run, path = pack("retinanet")
    graphs = []
    for checkpoint, name in ((run.checkpoint, "a.onnx"), (path, "b.onnx")):
        try:
            tool(
                "export", tiny_project("retinanet").config, checkpoint, "--output", tmp_path / name,
                "--images", 1,
            )  # fmt: skip
        except SystemExit as stopped:  # a CPU without VNNI
            assert "w8a8_cpu.py" in str(stopped)
        graphs.append(onnx.load(tmp_path / name).graph.SerializeToString())
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize("damage", ["cut", "changed", "replaced"])
def test_a_damaged_file_is_named(
    damage: str, pack: Any, tool: Any, tiny_project: Any, tmp_path: Path
) -> None:
    _, path = pack("retinanet")
    config, broken = tiny_project("retinanet").config, tmp_path / "broken.pth"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        broken.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        content[len(content) // 2] ^= 1
        broken.write_bytes(content)
    else:
        saved = torch.load(path, weights_only=True)
        saved["state_dict"][PACKED_KEY] = saved["state_dict"][PACKED_KEY][:-100]
        torch.save(saved, broken)
    with pytest.raises(SystemExit, match=r"error: .*broken\.pth"):
        tool("test", config, broken)


def test_what_cannot_be_packed_is_refused(
    pack: Any, tool: Any, tiny_project: Any, tmp_path: Path
) -> None:
    project = tiny_project("retinanet")
    with pytest.raises(SystemExit, match="error: .*float.pth is not quantized"):
        tool("pack", project.config, project.checkpoint, "--output", tmp_path / "p.pth")
    with pytest.raises(SystemExit, match=r"error: .*none\.pth"):
        tool("pack", project.config, tmp_path / "none.pth")
    _, path = pack("retinanet")
    with pytest.raises(SystemExit, match="error: .*packed.pth is a quantized checkpoint"):
        tool("quantize", project.config, "--checkpoint", path)
    with pytest.raises(SystemExit, match="error: .*made from a RetinaNet.*builds a FasterRCNN"):
        tool("test", tiny_project("faster_rcnn").config, path)
    assert not (tmp_path / "p.pth").exists()
