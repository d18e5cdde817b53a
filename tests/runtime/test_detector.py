"""From an image's file to boxes, without MMDetection: the same boxes."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from mmptq.errors import ConfigError, MmptqError  # noqa: E402
from mmptq.export.detections import Detections, likeness  # noqa: E402
from mmptq.export.kinds import make_part  # noqa: E402
from mmptq.export.network import SessionNetwork  # noqa: E402
from mmptq.runtime import Detector, detector, open_session  # noqa: E402
from tests.tiny_project import CLASSES, REPO  # noqa: E402

THRESHOLD = 0.3


@pytest.fixture
def export(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_project: Any, calibrated: Any
) -> Any:
    """``export(part)``: the file, of a quantized RetinaNet."""

    def run(part: str) -> Path:
        path = tmp_path / f"{part}.onnx"
        arguments = [tiny_project("retinanet").config, calibrated("retinanet").checkpoint]
        options = ["--part", part, "--target", "onnxruntime", "--output", path, "--images", 1]
        command = [*arguments, *options, "--work-dir", tmp_path / "work"]
        monkeypatch.setattr(sys, "argv", ["export.py", *map(str, command)])
        try:
            runpy.run_path(str(REPO / "tools/export.py"), run_name="__main__")
        except SystemExit as stopped:  # 8-bit products saturate on some CPUs
            assert "w8a8_cpu.py" in str(stopped)
        return path

    return run


def as_tensors(found: Any) -> Detections:
    return Detections(*(torch.as_tensor(v) for v in (found.boxes, found.scores, found.labels)))


@pytest.fixture
def images(tiny_project: Any) -> list[Path]:
    return sorted(Path(tiny_project("retinanet").config.parent).rglob("val/*"))[:3]


def test_mmdetections_boxes(
    export: Any, images: list[Path], tiny_project: Any, calibrated: Any
) -> None:
    config, checkpoint = tiny_project("retinanet").config, calibrated("retinanet").checkpoint
    model = init_detector(str(config), str(checkpoint), device="cpu")
    path = export("detector")
    detect = Detector(path, "onnxruntime", threads=1)
    assert detect.classes == CLASSES
    part = make_part(model.model)
    network = SessionNetwork(open_session(path, "onnxruntime", threads=1), part.inputs)
    for image in images:
        # The same network: what is compared is what stands in front of it and behind it.
        with part.computed_by(network, {}):
            expected = inference_detector(model, str(image)).pred_instances
        found = detect(image)
        assert len(found) == len(found.names) > 0
        other = Detections(expected.bboxes, expected.scores, expected.labels)
        assert likeness(as_tensors(found), other).close
        assert found.names == tuple(CLASSES[i] for i in found.labels)
        assert (np.diff(found.scores) <= 0).all()
    together = detect.batch([str(image) for image in images], THRESHOLD)
    for image, found in zip(images, together, strict=True):
        alone = detect(cv2.imread(str(image)), THRESHOLD)
        assert len(found) == len(alone)
        assert (found.scores >= THRESHOLD).all()
    assert detect.batch([]) == []


def test_a_picture(export: Any, images: list[Path]) -> None:
    detect = Detector(export("detector"), "onnxruntime", threads=1)
    pixels, found = cv2.imread(str(images[0])), detect(images[0])
    picture = detect.draw(images[0], found)
    assert picture.shape == pixels.shape
    left, top = np.clip(np.rint(found.boxes[0, :2]).astype(int), 0, None)
    assert (picture[top, left] != pixels[top, left]).any()
    assert (cv2.imread(str(images[0])) == pixels).all()


def test_what_is_no_detector(export: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export("heads")
    with pytest.raises(ConfigError, match=r"heads\.onnx holds heads: .*--part detector"):
        Detector(path, "onnxruntime")
    with pytest.raises(ConfigError, match="there is no file"):
        Detector(path.with_name("gone.onnx"), "onnxruntime")
    monkeypatch.setattr(detector.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="no runtime is installed: pip install"):
        Detector(path)


def test_images_that_cannot_be_read(export: Any, tmp_path: Path) -> None:
    detect = Detector(export("detector"), "onnxruntime", threads=1)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(MmptqError, match=r"a\.jpg is no image"):
        detect(tmp_path / "a.jpg")


ALONE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "mmdet", "mmengine", "mmcv", "scipy", "rich", "onnx"}:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Blocked())
from mmptq.runtime import Detector
found = Detector(sys.argv[1], "onnxruntime", threads=1)(sys.argv[2])
print(len(found), found.names[0])
"""


def test_needs_numpy_opencv_and_a_runtime_alone(export: Any, images: list[Path]) -> None:
    path = export("detector")
    found = Detector(path, "onnxruntime", threads=1)(images[0])
    command = [sys.executable, "-c", ALONE, str(path), str(images[0])]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(len(found)), found.names[0]], done.stderr
