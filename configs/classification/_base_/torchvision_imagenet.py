"""A float network of torchvision, with torchvision's weights, on images in folders.

Another one: `--cfg-options model.model_name=NAME load_from=FILE_OR_URL`.
"""

_base_ = ["mmdet::_base_/default_runtime.py", "./imagenet.py"]

model = dict(type="mmptq.TorchvisionClassifier", model_name="resnet18", num_classes=1000)
load_from = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
