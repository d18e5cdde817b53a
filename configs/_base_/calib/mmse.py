"""MMSE: the range with the least mean squared error, searched for each tensor and channel."""

calib_cfg = dict(
    method="mmse",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.0),
            act=dict(type="LpNormObserver", p=2.0),
        )
    ],
)
