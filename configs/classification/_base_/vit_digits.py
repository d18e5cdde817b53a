"""A small float vision transformer for the demo classification set.

From random weights to a trained model in about 20 minutes on one CPU core (tools/train_vit.py).
"""

_base_ = [
    "mmdet::_base_/default_runtime.py",
    "./digit_crops.py",
    "../../_base_/schedules/warmup_cosine.py",
]

model = dict(
    type="mmptq.VisionTransformer",
    image_size=28,
    patch_size=4,
    embed_dims=64,
    depth=3,
    num_heads=4,
    conv_stem=True,
    num_classes=10,
    data_preprocessor=dict(
        type="ImgDataPreprocessor",
        mean=[127.5, 127.5, 127.5],
        std=[63.75, 63.75, 63.75],
        bgr_to_rgb=True,
    ),
)
max_epochs = 20
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
_base_.param_scheduler[0].update(end=250)
_base_.param_scheduler[1].update(end=max_epochs, T_max=max_epochs, eta_min=0)
load_from = "{{ fileDirname }}/../../../checkpoints/demo/vit_digits.pth"
