"""ResNet-50 at W4A4 on ImageNet, steps by LAPQ."""

_base_ = [
    "./_base_/resnet50_imagenet.py",
    "../_base_/quant/w4a4.py",
    "./_base_/calib/lapq.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
