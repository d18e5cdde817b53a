"""RTMDet-tiny at W4A8 on COCO, heads included.

Depthwise layers read each channel through a range of its own.
"""

_base_ = ["./_base_/tiny.py", "../_base_/quant/w4a8.py", "../_base_/calib/gptq.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
