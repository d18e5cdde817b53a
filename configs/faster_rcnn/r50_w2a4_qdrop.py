"""Faster R-CNN R50 at W2A4 on COCO, by QDrop at its published size."""

_base_ = ["./_base_/r50.py", "../_base_/quant/w2a4.py", "../_base_/calib/qdrop.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
