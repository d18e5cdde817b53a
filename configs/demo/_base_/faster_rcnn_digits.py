"""Float Faster R-CNN for the demo set: MMDetection's own, with a ResNet-18 of a quarter's width."""

_base_ = [
    "mmdet::_base_/models/faster-rcnn_r50_fpn.py",
    "mmdet::_base_/default_runtime.py",
    "./digits_detection.py",
    "./digits_schedule.py",
]

model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        stem_channels=16,
        # Trained from random weights: nothing is frozen, and BN learns its own statistics.
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64, num_outs=4),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        # Digits are 16 to 60 px high and about 1.5 times as high as wide.
        anchor_generator=dict(scales=[4], ratios=[1.0, 1.7], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        # RoIs below 32 px are read at stride 4, those up to 64 px at stride 8.
        bbox_roi_extractor=dict(out_channels=64, finest_scale=16),
        bbox_head=dict(in_channels=64, fc_out_channels=160, num_classes=10),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=300, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100)),
)
load_from = "{{ fileDirname }}/../../../checkpoints/demo/faster_rcnn_digits.pth"
