"""Faster R-CNN R18 at W2A4 on COCO, heads included.

``--cfg-options qconfig.scope=backbone_neck`` leaves the heads in float.
"""

_base_ = ["./_base_/r18.py", "../_base_/quant/w2a4.py", "../_base_/calib/mmse.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
