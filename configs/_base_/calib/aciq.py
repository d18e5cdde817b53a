"""ACIQ: the clip that is optimal for a fitted Gauss or Laplace density (Banner et al. 2019).

Needs no search, only each tensor's spread.
"""

calib_cfg = dict(
    method="aciq",
    num_images=32,  # of the training set
    seed=0,  # which images
    steps=[
        dict(
            type="RangeCalibration",
            weight=dict(type="ACIQObserver", distribution="auto"),
            act=dict(type="ACIQObserver", distribution="auto"),
        )
    ],
)
