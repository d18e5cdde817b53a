"""Float RetinaNet for the demo set on MMDetection's own Swin transformer, three small stages of it.

python tools/train_demo.py retinanet_swin --bfloat16
"""

_base_ = "./retinanet_digits.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="SwinTransformer",
        embed_dims=32,
        depths=(2, 4, 2),
        num_heads=(2, 4, 8),
        strides=(4, 2, 2),
        out_indices=(0, 1, 2),
        window_size=5,  # 160 px are 40, 20 and 10 patches: nothing is padded
        drop_path_rate=0.0,
    ),
    neck=dict(in_channels=[32, 64, 128]),
)
# Height and width apart: more shapes of digits. No larger than in the test, which saves a third.
_base_.train_pipeline[2].update(scale=[(128, 128), (160, 160)], keep_ratio=False)

# tools/train_demo.py starts from what fits of the RetinaNet's neck and head; the transformer
# itself starts from random weights, and needs more epochs than a ResNet.
max_epochs = 60
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.05),
    paramwise_cfg=dict(custom_keys=dict(relative_position_bias_table=dict(decay_mult=0.0))),
    clip_grad=dict(max_norm=5.0),
)
_base_.param_scheduler[0].update(end=300)
_base_.param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
load_from = "{{ fileDirname }}/../../../checkpoints/digits/retinanet_swin_digits.pth"
