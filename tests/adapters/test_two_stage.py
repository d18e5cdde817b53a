"""Regions are those of the float model, whatever its parameters become."""

from typing import Any

import torch

from mmptq.adapters import find_adapter
from mmptq.adapters.blank import blank_sample
from mmptq.models.trace import flatten_tensors
from tests.stock_models import build_stock


@torch.no_grad()
def test_regions_of_every_stage_are_held() -> None:
    model: Any = build_stock("cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py").model
    adapter: Any = find_adapter(model)
    adapter.trace()
    image = torch.randn(1, 3, 128, 128)
    model.rpn_head.test_cfg.max_per_img = 10
    frozen = adapter.freeze(image, [blank_sample(image, {})], with_labels=False)
    seen: list[list[torch.Tensor]] = []
    for extractor in model.roi_head.bbox_roi_extractor:
        extractor.register_forward_pre_hook(lambda _, args: seen[-1].append(args[1].clone()))
    outputs = []
    for factor in (1.0, 3.0):
        for layer in (model.rpn_head.rpn_reg, model.roi_head.bbox_head[0].fc_reg):
            layer.weight.mul_(factor)
        seen.append([])
        outputs.append(list(flatten_tensors(adapter.head_outputs(image, frozen))))
    assert len(seen[0]) == 3
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    assert not torch.equal(seen[0][0], seen[0][1])  # the second stage looks at refined ones
    changed = [not torch.equal(a, b) for a, b in zip(*outputs, strict=True)]
    assert any(changed) and not all(changed)


@torch.no_grad()
def test_the_loss_samples_once() -> None:
    model: Any = build_stock("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py").model
    adapter: Any = find_adapter(model)
    image, frozen = adapter.small_pass(with_labels=True)
    before = adapter.loss(image, frozen)
    sampler = model.roi_head.bbox_sampler
    sampler.sample = None  # never asked again
    again = adapter.loss(image, frozen)
    assert {k: v for k, v in before.items() if "rpn" not in k} == {
        k: v for k, v in again.items() if "rpn" not in k
    }
