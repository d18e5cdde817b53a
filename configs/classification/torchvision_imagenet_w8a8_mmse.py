"""A network of torchvision at W8A8, ranges by MMSE."""

_base_ = [
    "./_base_/torchvision_imagenet.py",
    "../_base_/quant/w8a8.py",
    "./_base_/calib/mmse.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
