"""Float Faster R-CNN R18 for BCCD: MMDetection's own, narrower and with batch norm in the neck.

Trains with MMDetection's tools/train.py, hence no ``load_from``: the quantized configs set it.
"""

_base_ = [
    "mmdet::_base_/models/faster-rcnn_r50_fpn.py",
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
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128),
        bbox_head=dict(in_channels=128, fc_out_channels=512, num_classes=3),
    ),
    # An image holds about 14 cells: few proposals do.
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)),
)

# Two stages learn faster than one: a quarter of RetinaNet's epochs.
max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
_base_.param_scheduler[0].update(end=60)
_base_.param_scheduler[1].update(end=max_epochs, T_max=max_epochs)

# Stock settings would keep a checkpoint with the optimizer's state of every epoch: gigabytes.
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=4, max_keep_ckpts=1))
