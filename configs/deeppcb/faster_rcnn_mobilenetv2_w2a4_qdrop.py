"""Faster R-CNN MobileNetV2 at W2A4 on DeepPCB, by QDrop in its fast setting."""

_base_ = [
    "./_base_/faster_rcnn_mobilenetv2_deeppcb.py",
    "../_base_/quant/w2a4.py",
    "../_base_/calib/qdrop_fast.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/deeppcb/faster_rcnn_mobilenetv2_deeppcb.pth"
# Maps are large here: on crops the first units learn about ten times faster.
_base_.calib_cfg.steps[1].update(crop=48)
