"""ResNet-18 at W4A4 on ImageNet, by Bit-shrinking at its published size."""

_base_ = [
    "./_base_/resnet18_imagenet.py",
    "../_base_/quant/w4a4.py",
    "./_base_/calib/bitshrink_published.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
