"""BRECQ: rounding of weights learned block by block, then the steps of activations.

The published size: hours on a GPU. ``brecq_fast.py`` takes minutes.
"""

_base_ = "./mmse.py"

_base_.calib_cfg.update(method="brecq", num_images=256)
_base_.calib_cfg.steps += [
    dict(type="BRECQ", preset="published"),
    dict(type="LearnedSteps", preset="published"),
]
