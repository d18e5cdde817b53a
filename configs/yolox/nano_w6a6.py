"""YOLOX-Nano at W6A6 on COCO, heads included.

Depthwise layers read each channel through a range of its own.
"""

_base_ = ["./_base_/nano.py", "../_base_/quant/w6a6.py", "../_base_/calib/gptq.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
