"""Mixed precision as large as uniform W4, then GPTQ at the chosen bits."""

_base_ = "./mixed_mmse.py"

_base_.calib_cfg.method = "mixed_gptq"
_base_.calib_cfg.steps.append(dict(type="GPTQ"))
