"""Min-max: the whole range, nothing clipped. The naive baseline of every other method."""

calib_cfg = dict(
    method="minmax",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="MinMaxObserver"),
            act=dict(type="MinMaxObserver"),
        )
    ],
)
