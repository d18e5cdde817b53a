"""Ranges by L_2.4, as in the released code of BRECQ and QDrop: where reconstruction starts."""

calib_cfg = dict(
    method="l2.4",
    num_images=1024,  # of the training set
    batch_size=64,  # images that go through the network together
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.4),
            act=dict(type="LpNormObserver", p=2.4),
        ),
    ],
)
