"""SSDLite with MobileNetV2 at W8A8 on COCO, heads included.

Depthwise layers read each channel through a range of its own.
"""

_base_ = ["./_base_/ssdlite_mobilenetv2.py", "../_base_/quant/w8a8.py", "../_base_/calib/mmse.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
