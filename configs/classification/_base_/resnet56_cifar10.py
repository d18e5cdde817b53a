"""Float ResNet-56 of 32 x 32 images."""

_base_ = ["./resnet20_cifar10.py"]

model = dict(depth=56)
load_from = "data/cifar10/resnet56.pth"
