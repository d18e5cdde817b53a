"""Faster R-CNN R18 at W4A4 on DeepPCB, ranges by MMSE."""

_base_ = [
    "./_base_/faster_rcnn_r18_deeppcb.py",
    "../_base_/quant/w4a4.py",
    "../_base_/calib/mmse.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/deeppcb/faster_rcnn_r18_deeppcb.pth"
