"""Float Swin-T, with mmpretrain's public weights."""

_base_ = ["mmdet::_base_/default_runtime.py", "./imagenet.py", "./preprocessor.py"]

model = dict(
    type="mmptq.BackboneClassifier",
    backbone=dict(type="SwinTransformer", out_indices=(3,), init_cfg=None),
    num_classes=1000,
)
load_from = (
    "https://download.openmmlab.com/mmclassification/v0/"
    "swin-transformer/swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth"
)
