"""LAPQ: steps chosen together to minimise the cross-entropy on the calibration images."""

calib_cfg = dict(
    method="lapq",
    num_images=512,  # of the training set, with their labels
    batch_size=128,  # images that go through the network together
    seed=0,  # which images
    steps=[
        # Layer-wise L_p for 10 values of p, then the best p by quadratic interpolation.
        dict(type="LpInterpolation", objective=dict(type="CrossEntropy")),
        # All steps together.
        dict(type="JointSearch", objective=dict(type="CrossEntropy"), max_iters=1),
    ],
)
