"""Preprocessing as data: what stock pipelines do, or nothing."""

from typing import Any

import pytest
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.config import Config
from torch import nn

from mmptq.export.metadata import preprocessing
from mmptq.runner.launch import read_config


def steps(cfg: Config, **preprocessor: Any) -> Any:
    model: Any = nn.Module()
    model.data_preprocessor = DetDataPreprocessor(**preprocessor)
    return preprocessing(cfg, model)


def test_a_stock_retinanet() -> None:
    cfg = read_config("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py")
    arguments = {k: v for k, v in cfg.model.data_preprocessor.items() if k != "type"}
    found = steps(cfg, **arguments)
    assert [step["op"] for step in found] == ["resize", "swap_channels", "normalize", "pad_batch"]
    assert found[0] == {
        "op": "resize",
        "scale": [1333, 800],
        "keep_ratio": True,
        "interpolation": "bilinear",
    }
    assert found[2]["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert found[3] == {"op": "pad_batch", "divisor": 32, "value": [0, 0, 0]}


def test_a_stock_yolox_pads_to_a_square() -> None:
    cfg = read_config("mmdet::yolox/yolox_tiny_8xb8-300e_coco.py")
    found = steps(cfg, pad_size_divisor=32)
    assert [step["op"] for step in found] == ["resize", "pad", "pad_batch"]
    assert found[1]["square"] and found[1]["value"] == [114.0, 114.0, 114.0]


@pytest.mark.parametrize(
    "transform",
    [
        dict(type="PhotoMetricDistortion"),
        dict(type="Resize", scale=(64, 64), backend="pillow"),
        dict(type="Pad", size_divisor=32, padding_mode="reflect"),
    ],
)
def test_what_has_no_form_is_left_out_whole(transform: dict[str, Any]) -> None:
    pipeline = [dict(type="LoadImageFromFile"), transform]
    cfg = Config({"test_dataloader": {"dataset": {"pipeline": pipeline}}})
    assert steps(cfg) is None
