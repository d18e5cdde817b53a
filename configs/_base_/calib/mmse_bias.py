"""MMSE, and the mean that each layer's output lacks put into its bias."""

calib_cfg = dict(
    method="mmse_bias",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="LpNormObserver", p=2.0),
            act=dict(type="LpNormObserver", p=2.0),
        ),
        dict(type="BiasCorrection", mode="measured"),
    ],
)
