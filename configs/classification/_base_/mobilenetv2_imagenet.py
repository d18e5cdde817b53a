"""Float MobileNetV2, with mmpretrain's public weights."""

_base_ = ["mmdet::_base_/default_runtime.py", "./imagenet.py", "./preprocessor.py"]

model = dict(
    type="mmptq.BackboneClassifier",
    backbone=dict(type="MobileNetV2", out_indices=(7,), init_cfg=None),
    num_classes=1000,
)
load_from = (
    "https://download.openmmlab.com/mmclassification/v0/"
    "mobilenet_v2/mobilenet_v2_batch256_imagenet_20200708-3b2dc3af.pth"
)
