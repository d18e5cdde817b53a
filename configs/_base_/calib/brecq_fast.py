"""BRECQ in its fast setting: few images, short loops with larger steps."""

_base_ = "./brecq.py"

_base_.calib_cfg.num_images = 64
_base_.calib_cfg.steps[1].update(preset="fast")
_base_.calib_cfg.steps[2].update(preset="fast")
