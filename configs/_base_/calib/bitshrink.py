"""Bit-shrinking: weights and steps adjusted while the bit-width shrinks to its target.

The published size: hours on a GPU. ``bitshrink_fast.py`` takes minutes.
"""

_base_ = "./mmse.py"

_base_.calib_cfg.update(method="bitshrink", num_images=256)
_base_.calib_cfg.steps.append(dict(type="BitShrinking", preset="published"))
