"""Faster R-CNN MobileNetV2 at W4A8 on DeepPCB, by GPTQ behind MMSE ranges."""

_base_ = [
    "./_base_/faster_rcnn_mobilenetv2_deeppcb.py",
    "../_base_/quant/w4a8.py",
    "../_base_/calib/gptq.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/deeppcb/faster_rcnn_mobilenetv2_deeppcb.pth"
