"""MMSE behind equalization, which makes the channels of each activation more alike first."""

calib_cfg = dict(
    method="mmse_equalized",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[
        dict(type="Equalization"),
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.0),
            act=dict(type="LpNormObserver", p=2.0),
        ),
    ],
)
