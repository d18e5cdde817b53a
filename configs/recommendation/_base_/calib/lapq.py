"""LAPQ in its paper's protocol: 50 000 pairs, binary cross-entropy, Powell over every step."""

calib_cfg = dict(
    method="lapq",
    num_images=10000,  # choices, each with 4 items that the user did not choose: 50 000 pairs
    batch_size=500,  # of them that go through the network together
    check_images=1000,  # further choices, by which it is judged what was learned
    seed=0,  # which choices
    steps=[
        # Layer-wise L_p for 10 values of p, then the best p by quadratic interpolation.
        dict(type="LpInterpolation"),
        # All steps together.
        dict(type="JointSearch", max_iters=2),
    ],
)
