"""KL: the range that keeps the activations' distribution, after TensorRT (Migacz 2017)."""

calib_cfg = dict(
    method="kl",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            # As in TensorRT: entropy is for activations, weights keep each channel's range.
            weight=dict(type="MinMaxObserver"),
            act=dict(type="KLObserver"),
        )
    ],
)
