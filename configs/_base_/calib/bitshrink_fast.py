"""Bit-shrinking in its fast setting: few images, short loops with larger steps."""

_base_ = "./bitshrink.py"

_base_.calib_cfg.num_images = 64
_base_.calib_cfg.steps[1].update(preset="fast")
