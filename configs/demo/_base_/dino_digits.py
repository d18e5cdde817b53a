"""Float DINO for the demo set: MMDetection's own, on the ResNet of the demo's RetinaNet."""

_base_ = [
    "mmdet::_base_/default_runtime.py",
    "./digits_detection.py",
    "./digits_schedule.py",
]

dims = 256  # MMDetection writes a box as so many numbers
levels = 2
attention = dict(embed_dims=dims, num_levels=levels, num_points=2, dropout=0.0)
perceptron = dict(embed_dims=dims, feedforward_channels=128, ffn_drop=0.0)
model = dict(
    type="DINO",
    num_queries=30,
    with_box_refine=True,
    as_two_stage=True,
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(1, 2),
        frozen_stages=3,
        norm_eval=True,
        init_cfg=None,
    ),
    neck=dict(
        type="ChannelMapper",
        in_channels=[32, 64],
        kernel_size=1,
        out_channels=dims,
        act_cfg=None,
        norm_cfg=dict(type="GN", num_groups=32),
        num_outs=levels,
    ),
    encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=perceptron)),
    decoder=dict(
        num_layers=2,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=dims, num_heads=8, dropout=0.0),
            cross_attn_cfg=attention,
            ffn_cfg=perceptron,
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=dims // 2, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type="DINOHead",
        num_classes=10,
        num_reg_fcs=1,
        sync_cls_avg_factor=True,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=5.0),
        loss_iou=dict(type="GIoULoss", loss_weight=2.0),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=20),
    ),
    train_cfg=dict(
        assigner=dict(
            type="HungarianAssigner",
            match_costs=[
                dict(type="FocalLossCost", weight=2.0),
                dict(type="BBoxL1Cost", weight=5.0, box_format="xywh"),
                dict(type="IoUCost", iou_mode="giou", weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=30),
)

# tools/train_demo.py takes the backbone from the demo's RetinaNet, and it stays as it is.
train_dataloader = dict(batch_size=8)
train_cfg = dict(max_epochs=32, val_interval=4)
optim_wrapper = dict(optimizer=dict(lr=4e-4, weight_decay=1e-4), clip_grad=dict(max_norm=0.1))
_base_.param_scheduler[1].update(end=32, T_max=32)
load_from = "{{ fileDirname }}/../../../checkpoints/digits/dino_digits.pth"
