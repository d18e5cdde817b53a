"""RetinaNet R50 at W4A4 on COCO, by Bit-shrinking at its published size from LAPQ's steps."""

_base_ = [
    "./_base_/r50.py",
    "../_base_/quant/w4a4.py",
    "../_base_/calib/lapq_bitshrink.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
