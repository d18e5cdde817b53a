"""Float NeuMF of 8 factors: from random weights by tools/train_ncf.py, or of the public weights.

The public GMF and MLP are put together by tools/ncf_from_keras.py.
"""

_base_ = [
    "mmdet::_base_/default_runtime.py",
    "./ml1m.py",
    "../../_base_/schedules/warmup_cosine.py",
]

model = dict(
    type="mmptq.NeuMF",
    num_users=_base_.num_users,
    num_items=_base_.num_items,
    gmf_dims=8,
    mlp_widths=(64, 32, 16, 8),
)
max_epochs = 20
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(optimizer=dict(type="Adam", lr=1e-3))
_base_.param_scheduler[0].update(end=250)
_base_.param_scheduler[1].update(end=max_epochs, T_max=max_epochs, eta_min=0)
load_from = "data/ml-1m/neumf.pth"
