"""GPTQ behind MMSE ranges: each layer's weights are rounded so that its output stays the float's.

No labels, no iterations: about three passes of the images, and a least-squares problem a layer.
"""

_base_ = "./mmse.py"

_base_.calib_cfg.method = "gptq"
_base_.calib_cfg.steps.append(dict(type="GPTQ"))
