"""Images as MMDetection's own pipelines and data preprocessors make them, to the bit."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, DefaultScope

from mmptq.errors import MmptqError
from mmptq.evaluation.profile import inference_pipeline
from mmptq.export.metadata import preprocessing
from mmptq.runner.launch import read_config
from mmptq.runtime.preprocess import load_image, preprocess

STOCK = (
    "retinanet/retinanet_r50_fpn_1x_coco",
    "yolox/yolox_nano_8xb8-300e_coco",
    "rtmdet/rtmdet_tiny_8xb32-300e_coco",
    "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco",
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Photographs of no shape in particular, and one whose shape is the network's."""
    found = []
    for i, (height, width) in enumerate(((97, 141), (230, 120), (320, 320))):
        noise = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
        found.append(tmp_path / f"bild_{i}_ä.png")
        found[-1].write_bytes(cv2.imencode(".png", noise)[1].tobytes())
    return found


@pytest.mark.parametrize("path", STOCK)
def test_stock_pipelines(path: str, files: list[Path]) -> None:
    cfg = read_config(f"mmdet::{path}.py")
    with DefaultScope.overwrite_default_scope("mmdet"):
        model: Any = torch.nn.Module()
        settings = {k: v for k, v in cfg.model.data_preprocessor.items() if k != "batch_augments"}
        model.data_preprocessor = MODELS.build(settings)
        steps = preprocessing(cfg, model)
        assert steps is not None
        transforms = [
            {**t, "meta_keys": ("img_shape", "scale_factor")} if "Pack" in t["type"] else t
            for t in inference_pipeline(cfg)
            if "LoadAnnotations" not in t["type"]
        ]
        pipeline = Compose(transforms)
        data = [pipeline({"img_path": str(file), "img_id": 0}) for file in files]
        expected = model.data_preprocessor(pseudo_collate(data), False)
    batch, sizes, scales = preprocess([load_image(file) for file in files], steps)
    np.testing.assert_array_equal(batch, expected["inputs"].numpy())
    for i, sample in enumerate(expected["data_samples"]):
        assert tuple(sizes[i]) == sample.img_shape
        np.testing.assert_allclose(scales[i], sample.scale_factor, rtol=1e-6)


def test_pixels_are_taken_as_they_are(files: list[Path]) -> None:
    pixels = load_image(files[0])
    assert load_image(pixels) is pixels
    np.testing.assert_array_equal(load_image(str(files[0])), pixels)


def test_what_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(MmptqError, match=r"there is no file .*gone\.jpg"):
        load_image(tmp_path / "gone.jpg")
    for content in (b"", b"no image"):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(MmptqError, match=r"a\.jpg is no image"):
            load_image(tmp_path / "a.jpg")
    for shape in ((4, 4), (4, 4, 4), (0, 4, 3)):
        with pytest.raises(MmptqError, match=r"\(height, width, 3\)"):
            load_image(np.zeros(shape, np.uint8))
