"""Faster R-CNN R18 at W4A4 on BCCD, steps by LAPQ on distorted training images."""

_base_ = [
    "./_base_/faster_rcnn_r18_bccd.py",
    "./_base_/distorted_calibration.py",
    "../_base_/quant/w4a4.py",
    "../_base_/calib/lapq.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "checkpoints/bccd/faster_rcnn_r18_bccd.pth"
