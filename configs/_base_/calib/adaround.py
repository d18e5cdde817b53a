"""AdaRound: rounding of weights learned layer by layer; activations by MMSE.

The published size: hours on a GPU. ``adaround_fast.py`` takes minutes.
"""

calib_cfg = dict(
    method="adaround",
    num_images=256,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.0),
            act=dict(type="LpNormObserver", p=2.0),
        ),
        dict(type="AdaRound", preset="published"),
    ],
)
