"""Float Faster R-CNN R18 for DeepPCB: as with MobileNetV2, but for the backbone."""

_base_ = "./faster_rcnn_mobilenetv2_deeppcb.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="ResNet",
        depth=18,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True),
        # Boards are unlike ImageNet's photographs: BN learns its own statistics.
        norm_eval=False,
        style="pytorch",
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18"),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
