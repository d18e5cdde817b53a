"""RetinaNet R18 at W4A4 on BCCD, steps by LAPQ on distorted training images."""

_base_ = [
    "./_base_/retinanet_r18_bccd.py",
    "./_base_/distorted_calibration.py",
    "../_base_/quant/w4a4.py",
    "../_base_/calib/lapq.py",
]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "checkpoints/bccd/retinanet_r18_bccd.pth"
# Within the default bounds one of three choices of the images ends far off: docs/appendix/lapq.md.
_base_.calib_cfg.steps[1].update(bounds=(0.5, 2.0))
