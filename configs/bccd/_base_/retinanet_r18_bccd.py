"""Float RetinaNet R18 for BCCD: MMDetection's own, narrower and with batch norm throughout.

Trains with MMDetection's tools/train.py, hence no ``load_from``: the quantized configs set it.
"""

_base_ = [
    "mmdet::_base_/models/retinanet_r50_fpn.py",
    "mmdet::_base_/default_runtime.py",
    "./bccd_detection.py",
    "./bccd_schedule.py",
]

model = dict(
    backbone=dict(
        depth=18,
        # Trained from random weights: nothing is frozen, and BN learns its own statistics.
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=128, norm_cfg=dict(type="BN")),
    bbox_head=dict(
        num_classes=3,
        in_channels=128,
        stacked_convs=2,
        feat_channels=128,
        norm_cfg=dict(type="BN"),
    ),
)

# Stock settings would keep a checkpoint with the optimizer's state of every epoch: gigabytes.
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=10, max_keep_ckpts=1))
