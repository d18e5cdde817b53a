"""Float Faster R-CNN MobileNetV2 for DeepPCB: MMDetection's own with 64 channels.

Trains with MMDetection's tools/train.py, hence no ``load_from``: the quantized configs set it.
"""

_base_ = [
    "mmdet::_base_/models/faster-rcnn_r50_fpn.py",
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
    neck=dict(in_channels=[24, 32, 96, 320], out_channels=64),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        # From 24 pixels on: the published boxes are small.
        anchor_generator=dict(scales=[6]),
    ),
    roi_head=dict(
        # RoIs below 56 px are read at stride 4.
        bbox_roi_extractor=dict(out_channels=64, finest_scale=28),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=6),
    ),
    # A crop holds few defects, an image about six: few proposals do.
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=128)),
    ),
    test_cfg=dict(rpn=dict(max_per_img=300)),
)

# Two stages learn faster than one.
max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
_base_.param_scheduler[1].update(end=max_epochs, T_max=max_epochs)

# Stock settings would keep a checkpoint with the optimizer's state of every epoch.
default_hooks = dict(
    logger=dict(interval=25), checkpoint=dict(interval=max_epochs, max_keep_ckpts=1)
)
