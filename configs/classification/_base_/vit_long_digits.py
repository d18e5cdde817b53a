"""The vision transformer of the demo set with a deeper stem, trained for longer.

python tools/train_vit.py --model vit_long_digits
"""

_base_ = "./vit_digits.py"

model = dict(stem_convs=2)
max_epochs = 32
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
_base_.param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
load_from = "{{ fileDirname }}/../../../checkpoints/digits/vit_long_digits.pth"
