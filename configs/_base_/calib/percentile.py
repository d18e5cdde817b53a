"""Percentile: the rarest activations are clipped, whatever their size."""

calib_cfg = dict(
    method="percentile",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            # A weight's channel has too few values for a 99.99th percentile.
            weight=dict(type="MinMaxObserver"),
            act=dict(type="PercentileObserver", percentile=99.99),
        )
    ],
)
