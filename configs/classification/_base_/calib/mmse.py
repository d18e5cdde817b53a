"""MMSE: the range with the least mean squared error."""

calib_cfg = dict(
    method="mmse",
    num_images=1024,  # of the training set
    batch_size=64,  # images that go through the network together
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.0),
            act=dict(type="LpNormObserver", p=2.0),
        ),
    ],
)
