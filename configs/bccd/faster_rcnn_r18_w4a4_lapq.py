"""Faster R-CNN R18 at W4A4 on BCCD: LAPQ's search from KL's ranges, by the regions' distance."""

_base_ = ["./_base_/faster_rcnn_r18_bccd.py", "../_base_/quant/w4a4.py", "../_base_/calib/lapq.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "checkpoints/bccd/faster_rcnn_r18_bccd.pth"
# What start and objective are worth here: docs/appendix/lapq.md.
_base_.calib_cfg.steps[0] = dict(
    type="RangeCalibration", weight=dict(type="MinMaxObserver"), act=dict(type="KLObserver")
)
_base_.calib_cfg.steps[1].update(objective=dict(type="LastStageDistance"))
