"""A float network of timm, with timm's weights, on ImageNet or other images in folders.

Another one: `--cfg-options model.model_name=NAME load_from=timm://NAME`. Its normalisation is that
of its weights; resizing is this config's.
"""

_base_ = ["mmdet::_base_/default_runtime.py", "./imagenet.py"]

model = dict(type="mmptq.TimmClassifier", model_name="resnet18.a1_in1k", num_classes=1000)
load_from = "timm://resnet18.a1_in1k"
