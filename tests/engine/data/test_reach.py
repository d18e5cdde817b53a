"""What no image reaches is found before anything is quantized."""

from collections.abc import Callable
from typing import Any

import pytest

from mmptq.adapters import find_adapter
from mmptq.engine import check_reached
from mmptq.errors import CalibrationDataError
from mmptq.models import QConfig, QuantDetector
from tests.calibration_support import Images

W8A8 = QConfig.parse(dict(weight=dict(num_bits=8), act=dict(num_bits=8)))
Make = Callable[[str], QuantDetector]


class Counting(Images):
    """Counts how many of its images are asked for."""

    seen = 0

    def __iter__(self) -> Any:
        for item in super().__iter__():
            self.seen += 1
            yield item


def test_one_image_is_enough_where_it_reaches_all(make_wrapped: Make) -> None:
    model, images = make_wrapped("faster_rcnn"), Counting(3)
    check_reached(model, find_adapter(model.model).plan(W8A8), images)
    assert images.seen == 2  # the second was not run
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_outputs_are_reached_with_their_layers(make_wrapped: Make) -> None:
    model, images = make_wrapped("retinanet"), Counting(2)
    plan = find_adapter(model.model).plan(QConfig.parse(dict(target="onnxruntime")))
    assert any(layer.host != layer.name for layer in plan.layers)
    check_reached(model, plan, images)
    assert images.seen == 2


def test_more_images_until_one_has_a_region(make_wrapped: Make) -> None:
    model: Any = make_wrapped("faster_rcnn")
    plan = find_adapter(model.model).plan(W8A8)
    rpn, results = model.model.rpn_head, []
    original = rpn.predict

    def predict(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        results.append(found)
        return found if len(results) == 3 else [regions[:0] for regions in found]

    rpn.predict = predict
    check_reached(model, plan, Images(3))
    assert len(results) == 3


def test_nothing_is_ever_proposed(make_wrapped: Make) -> None:
    model: Any = make_wrapped("faster_rcnn")
    plan = find_adapter(model.model).plan(W8A8)
    model.model.rpn_head.test_cfg.min_bbox_size = 10_000
    with pytest.raises(CalibrationDataError, match=r"reaches 4 layers, first 'roi_head.bbox_head"):
        check_reached(model, plan, Images(2))


def test_what_stays_in_float_need_not_be_reached(make_wrapped: Make) -> None:
    model: Any = make_wrapped("faster_rcnn")
    only = dict(weight=dict(num_bits=8), act=dict(num_bits=8), scope="backbone_neck")
    plan = find_adapter(model.model).plan(QConfig.parse(only))
    model.model.rpn_head.test_cfg.min_bbox_size = 10_000
    check_reached(model, plan, Images(1))
