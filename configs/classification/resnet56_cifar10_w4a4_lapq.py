"""ResNet-56 at W4A4 on CIFAR-10, steps by LAPQ."""

_base_ = [
    "./_base_/resnet56_cifar10.py",
    "../_base_/quant/w4a4.py",
    "./_base_/calib/lapq.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
