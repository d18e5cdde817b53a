"""From ImageNet weights; RetinaNet's length, which Faster R-CNN's config shortens."""

_base_ = "../../_base_/schedules/warmup_cosine.py"

max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.02),
    # The backbone knows something already.
    paramwise_cfg=dict(
        norm_decay_mult=0,
        bias_decay_mult=0,
        bypass_duplicate=True,
        custom_keys=dict(backbone=dict(lr_mult=0.5)),
    ),
    clip_grad=dict(max_norm=20),
)
_base_.param_scheduler[0].update(start_factor=0.05, end=60)
_base_.param_scheduler[1].update(end=max_epochs, T_max=max_epochs, eta_min_ratio=0.02)
