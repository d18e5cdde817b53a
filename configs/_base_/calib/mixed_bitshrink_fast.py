"""Mixed precision as large as uniform W4, then Bit-shrinking to the chosen bits, fast setting."""

_base_ = "./mixed_mmse.py"

_base_.calib_cfg.method = "mixed_bitshrink"
_base_.calib_cfg.num_images = 64
_base_.calib_cfg.steps.append(dict(type="BitShrinking", preset="fast"))
