"""What the general adapter does beside running ``predict`` and ``loss``."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmptq.adapters import find_adapter
from mmptq.adapters.blank import add_labels, blank_sample, fresh
from mmptq.adapters.detector import everything_accepted
from mmptq.errors import ConfigError

Make = Callable[[str], nn.Module]


class Distorting(nn.Module):
    def forward(self, *_: Any) -> None:
        raise AssertionError("a measurement distorts nothing")


def test_labels_are_padded_as_the_image_is_and_nothing_is_distorted(make_detector: Make) -> None:
    model: Any = make_detector("faster_rcnn")
    model.data_preprocessor = DetDataPreprocessor(
        mean=[0.0] * 3, std=[1.0] * 3, pad_size_divisor=32, pad_mask=True
    )
    model.data_preprocessor.batch_augments = nn.ModuleList([Distorting()])
    image = torch.zeros(1, 3, 40, 50)
    sample = blank_sample(image, {})
    add_labels(sample, image.device, with_masks=True)
    batch = {"inputs": [image[0]], "data_samples": [sample]}
    adapter = find_adapter(model)
    found = adapter.preprocess(copy.deepcopy(batch), with_labels=True)
    assert found["inputs"].shape == (1, 3, 64, 64)
    assert found["data_samples"][0].gt_instances.masks.masks.shape == (2, 64, 64)
    found = adapter.preprocess(batch, with_labels=False)
    assert found["data_samples"][0].gt_instances.masks.masks.shape == (2, 40, 50)
    assert isinstance(model.data_preprocessor.batch_augments, nn.ModuleList)


def test_every_detection_is_accepted_for_a_while(make_detector: Make, image: Tensor) -> None:
    model: Any = make_detector("retinanet")
    model.bbox_head.test_cfg.score_thr = 2.0
    sample = lambda: [blank_sample(image, {})]  # noqa: E731
    with torch.no_grad():
        assert not len(model.predict(image, sample())[0].pred_instances)
        with everything_accepted(model):
            assert len(model.predict(image, sample())[0].pred_instances)
    assert model.bbox_head.test_cfg.score_thr == 2.0


def test_a_loss_that_needs_a_teacher(make_detector: Make) -> None:
    model = make_detector("retinanet")
    model.teacher_head = nn.Conv2d(1, 1, 1)
    adapter = find_adapter(model)
    with pytest.raises(ConfigError, match=r"needs its teacher \(teacher_head\)"):
        adapter.small_pass(with_labels=True)


def test_fresh_samples_share_tensors_but_not_fields() -> None:
    image = torch.zeros(1, 3, 8, 8)
    sample = blank_sample(image, {"border": 1})
    add_labels(sample, image.device, with_masks=False)
    copy_of: Any = fresh(sample)
    assert isinstance(copy_of, DetDataSample) and copy_of.border == 1
    assert copy_of.gt_instances.bboxes is sample.gt_instances.bboxes
    copy_of.gt_instances.labels = torch.ones(2)
    assert sample.gt_instances.labels.tolist() == [0, 0]
    assert "masks" not in sample.gt_instances
