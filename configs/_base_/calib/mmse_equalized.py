"""MMSE behind equalization, which makes the channels of each activation more alike first."""

_base_ = "./mmse.py"

_base_.calib_cfg.method = "mmse_equalized"
_base_.calib_cfg.steps.insert(0, dict(type="Equalization"))
