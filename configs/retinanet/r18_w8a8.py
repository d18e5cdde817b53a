"""RetinaNet R18 at W8A8 on COCO, heads included.

``--cfg-options qconfig.scope=backbone_neck`` leaves the heads in float.
"""

_base_ = ["./_base_/r18.py", "../_base_/quant/w8a8.py", "../_base_/calib/mmse.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
