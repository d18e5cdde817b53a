"""AdaRound: rounding of weights learned layer by layer; activations by MMSE.

The published size: hours on a GPU. ``adaround_fast.py`` takes minutes.
"""

_base_ = "./mmse.py"

_base_.calib_cfg.update(method="adaround", num_images=256)
_base_.calib_cfg.steps.append(dict(type="AdaRound", preset="published"))
