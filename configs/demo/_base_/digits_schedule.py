"""From random weights to a trained Faster R-CNN in about 20 minutes on one CPU core."""

_base_ = "../../_base_/schedules/warmup_cosine.py"

max_epochs = 30
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3, weight_decay=0.02),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
_base_.param_scheduler[0].update(end=200)
_base_.param_scheduler[1].update(end=max_epochs, T_max=max_epochs, eta_min=0)
