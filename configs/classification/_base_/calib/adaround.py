"""AdaRound: rounding of weights learned layer by layer; activations by MMSE."""

_base_ = ["./ranges_l24.py"]

calib_cfg = dict(
    method="adaround",
    steps=[
        *_base_.calib_cfg.steps,
        dict(
            type="AdaRound",
            iters=1000,
            batch_size=32,
            probe_images=64,
            lr_rounding=1e-2,
        ),
    ],
)
