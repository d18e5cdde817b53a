"""A loss under ``as_in_training`` is MMDetection's own, and forgets what it did."""

from collections import deque
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from mmptq.adapters import find_adapter
from mmptq.adapters.training import as_in_training
from mmptq.engine.incremental.objectives import total_loss
from tests.stock_models import build_stock


class Helper:
    """An assigner that counts, as Dynamic R-CNN's thresholds move."""

    def __init__(self, inner: Any = None) -> None:
        self.threshold = 0.5
        self.inner = inner

    def __call__(self) -> float:
        return self.threshold


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.head = nn.Sequential(nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3), nn.Dropout(0.5))
        self.assigner, self.history, self.shared = Helper(Helper()), deque([1.0]), {"a": 1}
        self.head.cache = self.shared
        self.register_buffer("bins", torch.zeros(2))
        self.count = 0


def test_modes_memory_and_random_numbers() -> None:
    model = Model().eval()
    drawn = []
    for _ in range(2):
        with as_in_training(model):
            assert model.training and model.head.training and model.head[0].training
            assert not model.backbone.training and not model.backbone[1].training
            assert not model.head[1].training and not model.head[2].training
            assert MessageHub.get_current_instance().get_info("epoch") > 1000
            drawn.append(torch.rand(3))
            model.assigner.threshold, model.count = 0.9, 7
            model.assigner.inner.threshold = 0.8
            model.history.append(2.0)
            model.shared["b"] = 2
            model.bins += 1
        assert not any(module.training for module in model.modules())
        assert (model.assigner.threshold, model.count) == (0.5, 0)
        assert model.assigner.inner.threshold == 0.5
        assert list(model.history) == [1.0] and model.bins.tolist() == [0.0, 0.0]
        # The one dictionary that two owners share.
        assert model.shared == {"a": 1} and model.head.cache is model.shared
    assert torch.equal(*drawn)
    assert MessageHub.get_current_instance().get_info("epoch") is None


# Heads whose loss in eval mode is another one, fails, or remembers.
HEADS = {
    "fcos with norm_on_bbox": (
        "fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py"
    ),
    "vfnet": "vfnet/vfnet_r50_fpn_1x_coco.py",
    "tood": "tood/tood_r50_fpn_1x_coco.py",
    "ghm": "ghm/retinanet_r50_fpn_ghm-1x_coco.py",
    "dynamic": "dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco.py",
    "deformable_detr": "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
}


def own_loss(model: Any, image: torch.Tensor, samples: list[Any]) -> float:
    """MMDetection's loss as its training computes it, with norms and dropout frozen."""
    MessageHub.get_current_instance().update_info("epoch", 100)
    model.train()
    for module in model.modules():
        if "Norm" in type(module).__name__ or "Drop" in type(module).__name__:
            module.eval()
        if isinstance(module, nn.MultiheadAttention):
            module.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        losses = model.loss(image, samples)
    MessageHub.get_current_instance().pop_info("epoch")
    return total_loss(losses)


@pytest.mark.parametrize("head", HEADS)
def test_equals_the_training_loss(head: str) -> None:
    model: Any = build_stock(HEADS[head]).model
    adapter: Any = find_adapter(model)
    image, frozen = adapter.small_pass(with_labels=True)
    with torch.no_grad():
        values = [total_loss(adapter.loss(image, frozen)) for _ in range(2)]
    assert values[0] == values[1]
    samples = adapter.small_pass(with_labels=True)[1].samples
    assert own_loss(model, image, samples) == pytest.approx(values[0], rel=1e-6)
