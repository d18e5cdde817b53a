"""BRECQ: rounding of weights learned block by block, then the steps of activations.

The published size: hours on a GPU. ``brecq_fast.py`` takes minutes.
"""

calib_cfg = dict(
    method="brecq",
    num_images=256,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.0),
            act=dict(type="LpNormObserver", p=2.0),
        ),
        dict(type="BRECQ", preset="published"),
        dict(type="LearnedSteps", preset="published"),
    ],
)
