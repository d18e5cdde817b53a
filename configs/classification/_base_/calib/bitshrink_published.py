"""Bit-shrinking at its published size: hours on a GPU."""

_base_ = ["./bitshrink.py"]

calib_cfg = dict(
    batch_size=32,
    steps=[
        # p = 2.4: as in the released code of BRECQ and QDrop.
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.4),
            act=dict(type="LpNormObserver", p=2.4),
        ),
        dict(type="BitShrinking", preset="published", batch_size=32, probe_images=64),
    ],
)
