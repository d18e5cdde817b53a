"""Faster R-CNN MobileNetV2 at W6A6 on DeepPCB, by GPTQ behind MMSE ranges."""

_base_ = [
    "./_base_/faster_rcnn_mobilenetv2_deeppcb.py",
    "../_base_/quant/w6a6.py",
    "../_base_/calib/gptq.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/deeppcb/faster_rcnn_mobilenetv2_deeppcb.pth"
