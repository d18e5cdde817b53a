"""Float ResNet-18, with mmpretrain's public weights."""

_base_ = ["mmdet::_base_/default_runtime.py", "./imagenet.py", "./preprocessor.py"]

model = dict(
    type="mmptq.BackboneClassifier",
    backbone=dict(type="ResNet", depth=18, num_stages=4, out_indices=(3,), init_cfg=None),
    num_classes=1000,
)
load_from = (
    "https://download.openmmlab.com/mmclassification/v0/"
    "resnet/resnet18_8xb32_in1k_20210831-fbbb1da6.pth"
)
