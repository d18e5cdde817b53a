"""BRECQ: rounding of weights learned block by block, then the steps of activations."""

calib_cfg = dict(
    method="brecq",
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
            type="BRECQ",
            iters=1000,
            batch_size=32,
            probe_images=64,
            lr_rounding=1e-2,
        ),
        dict(
            type="LearnedSteps",
            iters=1000,
            batch_size=32,
            probe_images=64,
            lr_step=1e-3,
        ),
    ],
)
