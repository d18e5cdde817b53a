"""The parts of detectors that users speak of, by the names that MMDetection gives layers."""

import pytest

from mmptq.models.stages import in_order, stage_of, stage_of_readers

NAMES = {
    # RetinaNet
    "backbone.conv1": "stem",
    "backbone.layer2.0.downsample.0": "layer2",
    "neck.lateral_convs.0.conv": "neck",
    "bbox_head.cls_convs.0.conv": "cls",
    "bbox_head.retina_cls": "cls",
    "bbox_head.reg_convs.1.conv": "reg",
    "bbox_head.retina_reg": "reg",
    # Faster and Mask R-CNN, HTC
    "rpn_head.rpn_conv": "rpn",
    "rpn_head.rpn_cls": "rpn",
    "roi_head.bbox_head.shared_fcs.0": "head",
    "roi_head.bbox_head.fc_cls": "cls",
    "roi_head.bbox_head.1.fc_reg": "reg",
    "roi_head.mask_head.convs.0.conv": "mask",
    "roi_head.mask_head.conv_logits": "mask",
    # YOLOX, RTMDet
    "backbone.stem.conv.conv": "stem",
    "backbone.stage2.0.conv": "stage2",
    "neck.reduce_layers.0.conv": "neck",
    "bbox_head.multi_level_cls_convs.0.0.conv": "cls",
    "bbox_head.multi_level_conv_cls.1": "cls",
    "bbox_head.multi_level_reg_convs.0.0.conv": "reg",
    "bbox_head.multi_level_conv_obj.2": "reg",
    "bbox_head.rtm_reg.0": "reg",
    # FCOS
    "bbox_head.conv_centerness": "reg",
    # DETR and its relatives
    "encoder.layers.0.self_attn.attn.query": "encoder",
    "decoder.layers.3.ffn.layers.1": "decoder",
    "bbox_head.fc_cls": "cls",
    "bbox_head.reg_ffn.layers.0.0": "reg",
    "bbox_head.cls_branches.5": "cls",
    "bbox_head.reg_branches.5.2": "reg",
    # Mask2Former
    "panoptic_head.pixel_decoder.input_convs.0.conv": "decoder",
    "panoptic_head.cls_embed": "cls",
    "panoptic_head.mask_embed.0": "mask",
    # Swin, ViT, MobileNetV2, a plain module
    "backbone.patch_embed.projection": "stem",
    "backbone.stages.1.blocks.0.attn.w_msa.qkv": "stages.1",
    "backbone.layers.7.attn.qkv": "layers.7",
    "backbone.layer3.0.conv.0.conv": "layer3",
    "backbone.conv2.conv": "stem",
    "backbone.features.4.0": "features.4",
    "network.0": "head",
}


@pytest.mark.parametrize(("name", "stage"), NAMES.items())
def test_stage_of(name: str, stage: str) -> None:
    assert stage_of(name) == stage


def test_what_branches_share_is_of_the_head() -> None:
    both = ["bbox_head.cls_convs.0.conv", "bbox_head.reg_convs.0.conv"]
    assert stage_of_readers(both) == "head"
    assert stage_of_readers(both[:1]) == "cls"
    assert stage_of_readers(["backbone.layer3.0.conv1", "neck.lateral_convs.0.conv"]) == "layer3"


def test_stages_stand_as_the_image_passes_them() -> None:
    met = ["neck", "layer1", "cls", "reg", "stem", "layer2", "rpn", "head", "cls"]
    assert in_order(met) == ["stem", "layer1", "layer2", "neck", "rpn", "head", "cls", "reg"]
