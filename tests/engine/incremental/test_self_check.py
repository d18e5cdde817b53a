"""A loss that is no function of the outputs is refused by name."""

from typing import Any

import pytest
import torch

from mmptq.engine import check_task_loss
from mmptq.errors import CalibrationDataError, ConfigError
from tests.calibration_support import MakeContext, make_context

__all__ = ["make_context"]


def check(context: Any) -> None:
    position, batch = next(iter(context.data))
    check_task_loss(context.adapter, batch, context.data.paths[position])


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_a_good_loss(make_context: MakeContext, name: str) -> None:
    check(make_context(name))


def test_a_loss_that_remembers_what_cannot_be_put_back(make_context: MakeContext) -> None:
    context = make_context("retinanet")
    head, calls = context.model.model.bbox_head, iter(range(10))
    original = head.loss_by_feat
    head.loss_by_feat = lambda *args: {
        **original(*args),
        "loss_x": torch.tensor([float(next(calls))]),
    }
    with pytest.raises(ConfigError, match="the training loss of the RetinaNet remembers"):
        check(context)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (float("inf"), "is inf on the calibration image image_0.png; check its boxes"),
        (None, "fails on the calibration image image_0.png: AttributeError"),
    ],
)
def test_a_loss_that_fails(make_context: MakeContext, fault: Any, message: str) -> None:
    context = make_context("retinanet")
    value = fault if fault is None else torch.tensor([fault])
    context.model.model.bbox_head.loss_by_feat = lambda *args: (
        value.nothing if value is None else {"loss_cls": value}
    )
    with pytest.raises(ConfigError, match=message):
        check(context)


def test_no_labels(make_context: MakeContext) -> None:
    context = make_context("retinanet")
    _, batch = next(iter(context.data))
    for sample in batch["data_samples"]:
        del sample.gt_instances
    with pytest.raises(CalibrationDataError, match="a.png has no labels"):
        check_task_loss(context.adapter, batch, "a.png")


def test_a_model_without_train_cfg(make_context: MakeContext) -> None:
    context = make_context("faster_rcnn")
    context.model.model.train_cfg = None
    with pytest.raises(ConfigError, match="model.train_cfg is None"):
        check(context)
