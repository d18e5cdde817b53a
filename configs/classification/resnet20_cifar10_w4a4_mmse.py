"""ResNet-20 at W4A4 on CIFAR-10, ranges by MMSE."""

_base_ = [
    "./_base_/resnet20_cifar10.py",
    "./_base_/w4a4.py",
    "./_base_/calib/mmse.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
