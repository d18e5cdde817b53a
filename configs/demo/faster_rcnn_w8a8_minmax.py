"""Faster R-CNN at W8A8 on the demo set, ranges by min-max."""

_base_ = ["./_base_/faster_rcnn_digits.py", "../_base_/quant/w8a8.py", "../_base_/calib/minmax.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "{{ fileDirname }}/../../checkpoints/demo/faster_rcnn_digits.pth"
