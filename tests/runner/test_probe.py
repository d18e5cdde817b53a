"""Geometry of a model's inputs, by stock pipelines."""

import copy
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope

from mmptq.adapters import find_adapter
from mmptq.classifiers import CifarResNet
from mmptq.runner.probe import pipeline_probe

STOCK: dict[str, tuple[int, int] | None] = {
    "retinanet/retinanet_r18_fpn_1x_coco.py": None,
    "ssd/ssd300_coco.py": (300, 300),
    "yolox/yolox_nano_8xb8-300e_coco.py": (416, 416),
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py": (640, 640),
    "centernet/centernet_r18_8xb16-crop512-140e_coco.py": None,
}


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope("mmdet")


def probe_of(cfg: Config, preprocessor: Any = None) -> Any:
    """By an adapter of a model of which only the data preprocessor is built."""

    class Preprocessing:
        input_size = None
        batched = False

        def __init__(self) -> None:
            self.model = type("Model", (), {"data_preprocessor": preprocessor})()

        def preprocess(self, batch: Any, with_labels: bool) -> Any:
            return preprocessor(batch, with_labels)

    return pipeline_probe(cfg, Preprocessing())  # type: ignore[arg-type]


def build_preprocessor(cfg: Config) -> Any:
    return MODELS.build(copy.deepcopy(cfg.model.data_preprocessor))


@pytest.mark.parametrize("name", STOCK)
def test_stock_pipelines(name: str) -> None:
    cfg = get_config(f"mmdet::{name}")
    probe = probe_of(cfg, build_preprocessor(cfg))
    assert (probe.channels, probe.size) == (3, STOCK[name])
    assert "img_shape" not in probe.metainfo
    assert ("border" in probe.metainfo) == name.startswith("centernet/")


def test_images_of_one_channel_in_a_store() -> None:
    """The loader's options count, but for where it reads from."""
    cfg = get_config("mmdet::retinanet/retinanet_r18_fpn_1x_coco.py")
    loader = cfg.test_dataloader.dataset.pipeline[0]
    loader.update(color_type="grayscale", backend_args=dict(backend="lmdb", db_path="nowhere"))
    cfg.model.data_preprocessor.update(mean=[110.0], std=[60.0], bgr_to_rgb=False)
    assert probe_of(cfg, build_preprocessor(cfg)).channels == 1


def test_a_pipeline_that_reads_no_plain_file() -> None:
    cfg = get_config("mmdet::retinanet/retinanet_r18_fpn_1x_coco.py")
    cfg.test_dataloader.dataset.pipeline[0] = dict(type="LoadImageFromNDArray")
    cfg.model.data_preprocessor.update(mean=[1.0] * 1, std=[1.0] * 1, bgr_to_rgb=False)
    probe = probe_of(cfg, build_preprocessor(cfg))
    assert (probe.channels, probe.size, probe.full_size) == (1, None, (800, 1344))


def test_the_adapter_takes_it(detector_cfgs: Any) -> None:
    cfg = get_config("mmdet::ssd/ssd300_coco.py")
    model = MODELS.build(dict(copy.deepcopy(detector_cfgs["retinanet"]), _scope_="mmdet"))
    adapter = find_adapter(model)
    adapter.probe = pipeline_probe(cfg, adapter)
    assert adapter.probe.size == (320, 320)  # its own preprocessor pads to 32


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [([], (48, 48)), ([dict(type="Resize", scale=(40, 32))], (32, 40))],
)
def test_classifiers_have_a_size_of_their_own(
    steps: list[dict[str, Any]], wanted: tuple[int, int]
) -> None:
    """Where the pipeline passes images on as they are, it is the one that costs are counted at."""
    model = CifarResNet(depth=8, data_preprocessor=dict(type="ImgDataPreprocessor"))
    model.image_size = 48
    pipeline = [dict(type="LoadImageFromFile"), *steps, dict(type="mmptq.PackClassInputs")]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    probe = pipeline_probe(cfg, find_adapter(model))
    assert probe.full_size == wanted
