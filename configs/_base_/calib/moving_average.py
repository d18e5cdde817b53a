"""Moving average: a running mean of each image's smallest and largest value.

One image with an outlier no longer sets the range for all, as it does with min-max.
"""

calib_cfg = dict(
    method="moving_average",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            # Weights do not change from image to image: nothing to average.
            weight=dict(type="MinMaxObserver"),
            act=dict(type="MovingAverageObserver", momentum=0.9),
        )
    ],
)
