"""Faster R-CNN R18 at W4A4 on BCCD, steps by LAPQ on the distance of the heads' outputs."""

_base_ = ["./_base_/faster_rcnn_r18_bccd.py", "../_base_/quant/w4a4.py", "../_base_/calib/lapq.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "checkpoints/bccd/faster_rcnn_r18_bccd.pth"
# The loss with labels falls further, and the mAP with it: docs/results_lapq.md.
_base_.calib_cfg.steps[0].update(objective=dict(type="OutputDistance"))
_base_.calib_cfg.steps[1].update(objective=dict(type="OutputDistance"))
