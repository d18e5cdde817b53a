"""MMSE, and the mean that each layer's output lacks put into its bias."""

_base_ = "./mmse.py"

_base_.calib_cfg.method = "mmse_bias"
_base_.calib_cfg.steps.append(dict(type="BiasCorrection", mode="measured"))
