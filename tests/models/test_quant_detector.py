"""The wrapper as MMDetection's registry and tools build it."""

import copy
from typing import Any

import pytest
import torch
from mmdet.models.detectors import FasterRCNN, RetinaNet
from mmengine.registry import MODELS, DefaultScope, init_default_scope

from mmptq.models import QuantDetector


@pytest.fixture(autouse=True)
def _keep_scope():
    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict = before


@pytest.mark.parametrize("scope", ["mmdet", "mmptq", "mmengine"])
@pytest.mark.parametrize(("name", "cls"), [("retinanet", RetinaNet), ("faster_rcnn", FasterRCNN)])
def test_built_from_a_config_in_any_scope(
    detector_cfgs: dict[str, Any], scope: str, name: str, cls: type
) -> None:
    init_default_scope(scope)
    cfg = copy.deepcopy(detector_cfgs[name])
    cfg.update(type="mmptq.QuantDetector", detector_type=cfg["type"])
    model = MODELS.build(cfg)
    assert type(model) is QuantDetector and type(model.model) is cls
    assert model.model is model.detector
    assert model.data_preprocessor is model.detector.data_preprocessor


def test_its_state_is_the_detectors_under_a_prefix(make_wrapped: Any) -> None:
    model = make_wrapped("retinanet")
    inner = model.detector.state_dict()
    assert model.state_dict().keys() == {f"detector.{key}" for key in inner}


def test_the_mode_reaches_the_detector(make_wrapped: Any, image: torch.Tensor) -> None:
    model = make_wrapped("retinanet")
    outputs = model(image, mode="tensor")
    assert len(outputs) == 2 and len(outputs[0]) == 5
