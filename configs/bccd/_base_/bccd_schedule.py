"""From random weights; RetinaNet's length, which Faster R-CNN's config shortens."""

_base_ = "../../_base_/schedules/warmup_cosine.py"

train_cfg = dict(max_epochs=60, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=4e-4, weight_decay=0.05), clip_grad=dict(max_norm=10))
_base_.param_scheduler[0].update(end=200)
_base_.param_scheduler[1].update(end=60, T_max=60)
