"""Ranges by L_2.4, as in the released code of BRECQ and QDrop: where reconstruction starts."""

_base_ = "./mmse.py"

_base_.calib_cfg.method = "l2.4"
_base_.calib_cfg.steps[0].weight.p = 2.4
_base_.calib_cfg.steps[0].act.p = 2.4
