"""Adapters against MMDetection's own ``predict``, on several families."""

from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmptq.adapters import Adapter, DetectorAdapter, Probe, TwoStageAdapter, find_adapter
from mmptq.errors import ConfigError
from mmptq.models import QConfig
from mmptq.models.trace import flatten_tensors
from mmptq.registry import ADAPTERS
from tests.stock_models import build_stock

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
    shapes = ("img_shape", "ori_shape", "pad_shape", "batch_input_shape")
    return DetDataSample(metainfo={**dict.fromkeys(shapes, shape), "scale_factor": (1.0, 1.0)})


@torch.no_grad()
def check_same_calls(model: nn.Module, image: Tensor) -> None:
    """A pass that is held fixed computes what ``predict`` does, again and again."""
    model.eval()
    adapter: Any = find_adapter(model)
    adapter.trace()
    samples = [sample(image) for _ in image]
    with recorded(model) as in_predict:
        model.predict(image, samples)
    frozen = adapter.freeze(image, [sample(image) for _ in image], with_labels=False)
    outputs = []
    for _ in range(2):
        with recorded(model) as in_pass:
            outputs.append(list(flatten_tensors(adapter.head_outputs(image, frozen))))
        # A RoI head's rows are counted by its first dimension, which the fingerprint leaves out.
        assert in_pass == in_predict and Counter(in_pass)
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    assert all(bool(x.isfinite().all()) for x in outputs[0])


@pytest.mark.parametrize(
    ("name", "cls"), [("retinanet", DetectorAdapter), ("faster_rcnn", TwoStageAdapter)]
)
def test_the_adapter_of_each_family(make_detector: Make, name: str, cls: type[Adapter]) -> None:
    adapter = find_adapter(make_detector(name))
    assert type(adapter) is cls
    assert ADAPTERS.get(cls.__name__) is cls


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_pass_runs_each_layer_as_predict_does(
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
    assert [len(kind) for kind in outputs] == [5, 5]
    for got, wanted in zip(flatten_tensors(outputs), flatten_tensors(expected), strict=True):
        assert torch.equal(got, wanted)


@torch.no_grad()
def test_faster_rcnns_raw_outputs_lead_to_its_predictions(
    make_detector: Make, image: Tensor
) -> None:
    """The RoI head's raw scores, decoded by hand, hold the scores that predict returns."""
    model = make_detector("faster_rcnn")
    adapter = find_adapter(model)
    outputs = adapter.raw_outputs(image)
    assert [len(kind) for kind in outputs] == [5, 5, 1, 1]
    assert adapter.last_stage(outputs) == outputs[2:]
    ((cls_score,), (bbox_pred,)) = outputs[2:]
    assert cls_score.shape[1] == 5 and bbox_pred.shape == (len(cls_score), 16)
    (result,) = model.predict(image, [sample(image)])
    probabilities = cls_score.softmax(-1)[:, :-1]
    for score, label in zip(
        result.pred_instances.scores, result.pred_instances.labels, strict=True
    ):
        assert float((probabilities[:, label] - score).abs().min()) < 1e-6


def test_the_traced_image_is_always_the_same(make_detector: Make) -> None:
    adapter = find_adapter(make_detector("retinanet"))
    assert torch.equal(adapter.trace_image(), adapter.trace_image())
    assert adapter.trace_image().shape == (1, 3, 128, 128)


def test_the_traced_image_is_as_the_pipeline_makes_it(make_detector: Make) -> None:
    adapter = find_adapter(make_detector("retinanet"))
    adapter.probe = Probe(channels=3, size=(96, 160), metainfo={"border": 7})
    adapter.trace()
    image, frozen = adapter.small_pass()
    assert image.shape == (1, 3, 96, 160)
    assert frozen.samples[0].border == 7 and frozen.samples[0].img_shape == (96, 160)


def test_a_model_that_no_adapter_knows() -> None:
    with pytest.raises(
        ConfigError, match="no adapter handles a Sequential; there are ClassifierAdapter, Detector"
    ):
        find_adapter(nn.Sequential(nn.Conv2d(3, 3, 1)))


# --- other families, as MMDetection configures them -----------------------------------------------

OTHERS = {
    "fcos": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "atss": "atss/atss_r50_fpn_1x_coco.py",
    "rtmdet": "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "cascade_rcnn": "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
    "detr": "detr/detr_r50_8xb2-150e_coco.py",
    "deformable_detr": "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py",
}


@pytest.mark.parametrize("family", OTHERS)
@torch.no_grad()
def test_other_families_of_mmdetection(family: str) -> None:
    wrapper = build_stock(OTHERS[family])
    adapter: Any = find_adapter(wrapper.model)
    plan = adapter.plan(W4)
    image = torch.randn(1, 3, *adapter.trace_size)
    check_same_calls(wrapper.model, image)
    assert plan.unplanned == ()
    frozen = adapter.freeze(image, [sample(image)], with_labels=False)
    expected = list(flatten_tensors(adapter.head_outputs(image, frozen)))
    wrapper.prepare(plan)
    wrapper.start_pass()
    outputs = list(flatten_tensors(adapter.head_outputs(image, frozen)))
    for got, wanted in zip(outputs, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
    last = {layer.name for layer in plan.layers if "last" in layer.roles}
    assert all("head" in name for name in last) and len(last) >= 2
    assert not any(type(m) is nn.Conv2d for m in wrapper.model.modules())
