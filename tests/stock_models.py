"""MMDetection's stock models, narrowed, with random weights."""

import copy
from typing import Any

import torch
from mmengine.hub import get_config
from mmengine.registry import DefaultScope

from mmptq.models import QuantDetector


def build_stock(path: str) -> QuantDetector:
    """The model of ``mmdet::<path>``: its backbone narrowed, heads as they are."""
    cfg = copy.deepcopy(get_config(f"mmdet::{path}").model)
    for part in _dicts(cfg):
        if part.get("init_cfg"):
            part["init_cfg"] = None
        if part.get("type") == "ResNet" and part["depth"] > 18:
            part.update(base_channels=8, stem_channels=8)
    if cfg.backbone.type == "ResNet":
        neck = cfg.neck[0] if isinstance(cfg.neck, list) else cfg.neck
        neck.in_channels = [channels // 8 for channels in neck.in_channels]
    for rcnn in _dicts(cfg.get("roi_head", {}).get("bbox_head", ())):
        if "fc_out_channels" in rcnn:
            rcnn["fc_out_channels"] = 32
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model: Any = QuantDetector(detector_type=cfg.pop("type"), **cfg).eval()
    # Some parameters are no numbers before, but whatever the memory held.
    model.model.init_weights()
    return model


def _dicts(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return [node, *(d for value in node.values() for d in _dicts(value))]
    if isinstance(node, list | tuple):
        return [d for value in node for d in _dicts(value)]
    return []
