"""Faster R-CNN at W4A4 on the demo set, ranges by MMSE."""

_base_ = ["./_base_/faster_rcnn_digits.py", "../_base_/quant/w4a4.py", "../_base_/calib/mmse.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/demo/faster_rcnn_digits.pth"
