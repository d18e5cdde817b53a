"""Bit-shrinking: weights and steps adjusted while the bit-width shrinks to its target.

The published size: hours on a GPU. ``bitshrink_fast.py`` takes minutes.
"""

calib_cfg = dict(
    method="bitshrink",
    num_images=256,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.0),
            act=dict(type="LpNormObserver", p=2.0),
        ),
        dict(type="BitShrinking", preset="published"),
    ],
)
