"""BRECQ: rounding of weights learned block by block, then the steps of activations."""

_base_ = ["./ranges_l24.py"]

calib_cfg = dict(
    method="brecq",
    steps=[
        *_base_.calib_cfg.steps,
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
