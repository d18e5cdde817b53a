"""Faster R-CNN R18 at W4A4 on BCCD, by Bit-shrinking in its fast setting."""

_base_ = [
    "./_base_/faster_rcnn_r18_bccd.py",
    "../_base_/quant/w4a4.py",
    "../_base_/calib/bitshrink_fast.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "checkpoints/bccd/faster_rcnn_r18_bccd.pth"
