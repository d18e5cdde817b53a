"""LAPQ: steps chosen together to minimise the detector's own loss on the calibration images."""

calib_cfg = dict(
    method="lapq",
    num_images=32,  # of the training set, with their labels
    seed=0,  # which images
    steps=[
        # Layer-wise L_p for 10 values of p, then the best p by quadratic interpolation.
        dict(type="LpInterpolation", p_range=(2.0, 4.0), num_points=10),
        # All steps together. The paper's own is Powell over every tensor, which asks for many more
        # evaluations, and with so few images for moves that hold for these images only:
        # optimizer="Powell", group="tensor", held_out=0.0.
        dict(type="JointSearch", optimizer="CoordinateDescent", group="unit", held_out=0.5),
    ],
)
