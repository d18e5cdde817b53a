"""Float ResNet-20 of 32 x 32 images."""

_base_ = ["mmdet::_base_/default_runtime.py", "./cifar10.py", "./preprocessor.py"]

model = dict(type="mmptq.CifarResNet", depth=20, num_classes=10)
load_from = "data/cifar10/resnet20.pth"
