"""RetinaNet at W4A4 on the demo set, steps by LAPQ."""

_base_ = ["./_base_/retinanet_digits.py", "../_base_/quant/w4a4.py", "../_base_/calib/lapq.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/demo/retinanet_digits.pth"
