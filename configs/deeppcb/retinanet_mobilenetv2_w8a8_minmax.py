"""RetinaNet MobileNetV2 at W8A8 on DeepPCB, ranges by min-max."""

_base_ = [
    "./_base_/retinanet_mobilenetv2_deeppcb.py",
    "../_base_/quant/w8a8.py",
    "../_base_/calib/minmax.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/deeppcb/retinanet_mobilenetv2_deeppcb.pth"
