"""RetinaNet at W4A4 on the demo set, by BRECQ in its fast setting."""

_base_ = [
    "./_base_/retinanet_digits.py",
    "../_base_/quant/w4a4.py",
    "../_base_/calib/brecq_fast.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/demo/retinanet_digits.pth"
