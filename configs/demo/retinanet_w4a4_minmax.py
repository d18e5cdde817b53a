"""RetinaNet at W4A4 on the demo set, ranges by min-max."""

_base_ = ["./_base_/retinanet_digits.py", "../_base_/quant/w4a4.py", "../_base_/calib/minmax.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/demo/retinanet_digits.pth"
