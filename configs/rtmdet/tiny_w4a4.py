"""RTMDet-tiny at W4A4 on COCO, heads included, by Bit-shrinking in its fast setting.

Depthwise layers read each channel through a range of its own.
"""

_base_ = ["./_base_/tiny.py", "../_base_/quant/w4a4.py", "../_base_/calib/bitshrink_fast.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
