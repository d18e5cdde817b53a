"""Bit-shrinking at its published size: hours on a GPU."""

_base_ = ["./bitshrink.py"]

calib_cfg = dict(
    batch_size=32,
    steps=[
        _base_.calib_cfg.steps[0],
        dict(type="BitShrinking", preset="published", batch_size=32, probe_images=64),
    ],
)
