"""Bit-shrinking: weights and steps adjusted while the bit-width shrinks to its target."""

calib_cfg = dict(
    method="bitshrink",
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
            type="BitShrinking",
            iters=1000,
            batch_size=32,
            probe_images=64,
            lr_weight=1e-2,
            lr_step=1e-3,
            shrink_share=0.2,
            stops=3,
        ),
    ],
)
