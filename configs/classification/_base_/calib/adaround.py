"""AdaRound: rounding of weights learned layer by layer; activations by MMSE."""

calib_cfg = dict(
    method="adaround",
    num_images=1024,  # of the training set
    batch_size=64,  # images that go through the network together
    seed=0,  # which images
    steps=[
        # p = 2.4: as in the released code of BRECQ and QDrop.
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.4),
            act=dict(type="LpNormObserver", p=2.4),
        ),
        dict(
            type="AdaRound",
            iters=1000,
            batch_size=32,
            probe_images=64,
            lr_rounding=1e-2,
        ),
    ],
)
