"""Adapters against MMDetection's own ``predict``, on several families."""

import copy
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmptq.adapters import (
    Adapter,
    SingleStageAdapter,
    TwoStageAdapter,
    find_adapter,
)
from mmptq.errors import ConfigError
from mmptq.models import QConfig, QuantDetector
from mmptq.models.trace import flatten_tensors
from mmptq.registry import ADAPTERS

W4 = QConfig.parse(dict(weight=dict(num_bits=4), act=dict(num_bits=4)))
Make = Callable[[str], nn.Module]


@contextmanager
def recorded(model: nn.Module) -> Any:
    """Layers in the order in which they run, with a fingerprint of what they read."""
    calls: list[tuple[str, tuple[int, ...]]] = []

    def hook(name: str) -> Callable[..., None]:
        return lambda module, args: calls.append((name, tuple(args[0].shape[1:])))

    handles = [
        module.register_forward_pre_hook(hook(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    yield calls
    for handle in handles:
        handle.remove()


def sample(image: Tensor) -> DetDataSample:
    shape = tuple(image.shape[-2:])
    return DetDataSample(
        metainfo=dict(
            img_shape=shape,
            ori_shape=shape,
            pad_shape=shape,
            batch_input_shape=shape,
            scale_factor=(1.0, 1.0),
        )
    )


@torch.no_grad()
def check_same_calls(model: nn.Module, image: Tensor) -> None:
    model.eval()
    with recorded(model) as in_predict:
        model.predict(image, [sample(image) for _ in image])
    with recorded(model) as in_raw:
        outputs = find_adapter(model).raw_outputs(image)
    # A RoI head's rows are counted by its first dimension, which the fingerprint leaves out.
    assert in_raw == in_predict and Counter(in_raw)
    assert all(bool(x.isfinite().all()) for x in flatten_tensors(outputs))


@pytest.mark.parametrize(
    ("name", "cls"), [("retinanet", SingleStageAdapter), ("faster_rcnn", TwoStageAdapter)]
)
def test_the_adapter_of_each_family(make_detector: Make, name: str, cls: type[Adapter]) -> None:
    adapter = find_adapter(make_detector(name))
    assert type(adapter) is cls
    assert ADAPTERS.get(cls.__name__) is cls


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
@pytest.mark.parametrize("batch", [1, 2])
def test_raw_outputs_runs_each_layer_as_predict_does(
    make_detector: Make, image: Tensor, name: str, batch: int
) -> None:
    check_same_calls(make_detector(name), image.expand(batch, -1, -1, -1).contiguous())


@pytest.mark.parametrize("shape", [(96, 160), (128, 64), (64, 64)])
@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_other_image_shapes(make_detector: Make, name: str, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    check_same_calls(make_detector(name), torch.randn(1, 3, *shape, generator=generator))


@torch.no_grad()
def test_retinanets_raw_outputs_are_its_heads(make_detector: Make, image: Tensor) -> None:
    model = make_detector("retinanet")
    outputs = find_adapter(model).raw_outputs(image)
    expected = model._forward(image)
    for got, wanted in zip(flatten_tensors(outputs), flatten_tensors(expected), strict=True):
        assert torch.equal(got, wanted)


@torch.no_grad()
def test_faster_rcnns_raw_outputs_lead_to_its_predictions(
    make_detector: Make, image: Tensor
) -> None:
    """The RoI head's raw scores, decoded by hand, hold the scores that predict returns."""
    model = make_detector("faster_rcnn")
    rpn_outputs, (_, cls_score, bbox_pred) = _split(find_adapter(model).raw_outputs(image))
    assert [len(kind) for kind in rpn_outputs] == [5, 5]
    assert cls_score.shape[1] == 5 and bbox_pred.shape == (len(cls_score), 16)
    (result,) = model.predict(image, [sample(image)])
    probabilities = cls_score.softmax(-1)[:, :-1]
    for score, label in zip(
        result.pred_instances.scores, result.pred_instances.labels, strict=True
    ):
        assert float((probabilities[:, label] - score).abs().min()) < 1e-6


def _split(outputs: Any) -> tuple[Any, tuple[Any, Tensor, Tensor]]:
    rpn_outputs, roi_outputs = outputs
    return rpn_outputs, (None, roi_outputs[-2], roi_outputs[-1])


def test_the_traced_image_is_always_the_same(make_detector: Make) -> None:
    adapter = find_adapter(make_detector("retinanet"))
    assert torch.equal(adapter.trace_image(), adapter.trace_image())
    assert adapter.trace_image().shape == (1, 3, 128, 128)


def test_a_model_that_no_adapter_knows() -> None:
    with pytest.raises(
        ConfigError, match="no adapter handles a Sequential; there are ClassifierAdapter, Single"
    ):
        find_adapter(nn.Sequential(nn.Conv2d(3, 3, 1)))


# --- other families, as MMDetection configures them -----------------------------------------------

OTHERS = {
    "fcos": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "atss": "atss/atss_r50_fpn_1x_coco.py",
    "rtmdet": "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "cascade_rcnn": "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
}


def build_stock(path: str) -> QuantDetector:
    from mmengine.hub import get_config

    cfg: Config = get_config(f"mmdet::{path}")
    model_cfg = copy.deepcopy(cfg.model)
    model_cfg.backbone.init_cfg = None
    if model_cfg.backbone.type == "ResNet":  # a small one: what counts is the family
        model_cfg.backbone.update(depth=18, base_channels=16, stem_channels=16)
        model_cfg.neck.in_channels = [16, 32, 64, 128]
    if "roi_head" in model_cfg:
        model_cfg.test_cfg.rpn.max_per_img = 20
        for head in model_cfg.roi_head.bbox_head:
            head.fc_out_channels = 32
    with DefaultScope.overwrite_default_scope("mmdet"):
        return QuantDetector(detector_type=model_cfg.pop("type"), **model_cfg).eval()


@pytest.mark.parametrize("family", OTHERS)
@torch.no_grad()
def test_other_families_of_mmdetection(family: str) -> None:
    torch.manual_seed(0)
    wrapper = build_stock(OTHERS[family])
    image = torch.randn(1, 3, 128, 128)
    adapter = find_adapter(wrapper.model)
    check_same_calls(wrapper.model, image)
    plan = adapter.plan(W4)
    assert plan.unplanned == ()
    expected = list(flatten_tensors(adapter.raw_outputs(image)))
    wrapper.prepare(plan)
    wrapper.start_pass()
    outputs = list(flatten_tensors(adapter.raw_outputs(image)))
    for got, wanted in zip(outputs, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
    last = {layer.name for layer in plan.layers if "last" in layer.roles}
    assert all("head" in name for name in last) and len(last) >= 2
    assert not any(type(m) is nn.Conv2d for m in wrapper.model.modules())
