"""ResNet-18 at W4A4 on ImageNet, ranges by MMSE."""

_base_ = [
    "./_base_/resnet18_imagenet.py",
    "../_base_/quant/w4a4.py",
    "./_base_/calib/mmse.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
