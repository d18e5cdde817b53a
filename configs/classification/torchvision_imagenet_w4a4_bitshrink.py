"""A network of torchvision at W4A4 on ImageNet, by Bit-shrinking."""

_base_ = [
    "./_base_/torchvision_imagenet.py",
    "./_base_/w4a4.py",
    "./_base_/calib/bitshrink.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
