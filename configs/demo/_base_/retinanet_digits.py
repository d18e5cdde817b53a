"""Float RetinaNet for the demo set: MMDetection's own, with a ResNet-18 of a quarter's width."""

_base_ = [
    "mmdet::_base_/models/retinanet_r50_fpn.py",
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
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64, start_level=0, num_outs=5),
    bbox_head=dict(
        num_classes=10,
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        # Digits are 16 to 60 px high and about 1.5 times as high as wide: half the stock strides.
        anchor_generator=dict(
            octave_base_scale=3, scales_per_octave=2, ratios=[1.5], strides=[4, 8, 16, 32, 64]
        ),
        # The stock 0.01 is tuned for 256 channels; with 64 the signal would fade on its way.
        init_cfg=dict(
            type="Normal",
            layer="Conv2d",
            std=0.05,
            override=dict(type="Normal", name="retina_cls", std=0.01, bias_prob=0.01),
        ),
    ),
    test_cfg=dict(nms_pre=300),
)

# tools/train_demo.py starts from the backbone and neck of the Faster R-CNN, as one would start from
# ImageNet weights; from random ones the focal loss learns more slowly.
train_dataloader = dict(batch_size=8)
train_cfg = dict(max_epochs=16)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
_base_.param_scheduler[1].update(end=16, T_max=16)
load_from = "{{ fileDirname }}/../../../checkpoints/demo/retinanet_digits.pth"
