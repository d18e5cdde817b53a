"""QDrop: rounding and steps learned block by block, activations quantized at random.

The published size: hours on a GPU. ``qdrop_fast.py`` takes minutes.
"""

_base_ = "./mmse.py"

_base_.calib_cfg.update(method="qdrop", num_images=256)
_base_.calib_cfg.steps.append(dict(type="QDrop", preset="published"))
