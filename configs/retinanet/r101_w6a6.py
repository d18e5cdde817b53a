"""RetinaNet R101 at W6A6 on COCO, heads included.

``--cfg-options qconfig.scope=backbone_neck`` leaves the heads in float.
"""

_base_ = ["./_base_/r101.py", "../_base_/quant/w6a6.py", "../_base_/calib/mmse.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
