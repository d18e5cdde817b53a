"""Bit-shrinking: weights and steps adjusted while the bit-width shrinks to its target."""

_base_ = ["./ranges_l24.py"]

calib_cfg = dict(
    method="bitshrink",
    steps=[
        *_base_.calib_cfg.steps,
        dict(
            type="BitShrinking",
            iters=1000,
            batch_size=32,
            probe_images=64,
            lr_weight=1e-2,
            lr_step=1e-3,
            shrink_share=0.2,
            stops=3,
        ),
    ],
)
