"""From random weights; RetinaNet's length, which Faster R-CNN's config shortens."""

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=60, val_interval=10)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=4e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=0,
        end=60,
        T_max=60,
        convert_to_iter_based=True,
    ),
]
