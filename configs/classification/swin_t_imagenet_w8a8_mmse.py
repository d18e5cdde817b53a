"""Swin-T at W8A8 on ImageNet, ranges by MMSE."""

_base_ = [
    "./_base_/swin_t_imagenet.py",
    "../_base_/quant/w8a8.py",
    "./_base_/calib/mmse.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
