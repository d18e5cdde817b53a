"""Float RetinaNet MobileNetV2 for DeepPCB: MMDetection's own with 64 channels.

Trains with MMDetection's tools/train.py, hence no ``load_from``: the quantized configs set it.
"""

_base_ = [
    "mmdet::_base_/models/retinanet_r50_fpn.py",
    "mmdet::_base_/default_runtime.py",
    "./deeppcb_detection.py",
    "./deeppcb_schedule.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="MobileNetV2",
        out_indices=(1, 2, 4, 6),
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://mmdet/mobilenet_v2"),
    ),
    neck=dict(
        in_channels=[24, 32, 96, 320],
        out_channels=64,
        add_extra_convs="on_output",
        # Nothing in the set is so large that it would need a stride of 128.
        num_outs=4,
    ),
    bbox_head=dict(
        num_classes=6,
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        # From 24 pixels on: the published boxes are small.
        anchor_generator=dict(octave_base_scale=3, strides=[8, 16, 32, 64]),
        loss_bbox=dict(_delete_=True, type="SmoothL1Loss", beta=0.11, loss_weight=1.0),
    ),
)

# Stock settings would keep a checkpoint with the optimizer's state of every epoch.
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=6, max_keep_ckpts=1))
