"""QDrop behind layer norms whose channels were given one range (RepQ-ViT): for transformers."""

_base_ = ["./ranges_l24.py"]

calib_cfg = dict(
    method="qdrop_norms",
    steps=[
        dict(type="NormReparametrization"),
        *_base_.calib_cfg.steps,
        dict(
            type="QDrop",
            iters=1000,
            batch_size=32,
            probe_images=64,
            lr_rounding=1e-2,
            lr_step=1e-3,
        ),
    ],
)
