"""AdamW, whose rate rises over the first iterations and then falls along a cosine.

A schedule sets where the two end, in iterations and in epochs.
"""

train_cfg = dict(type="EpochBasedTrainLoop")
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW"))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=0, convert_to_iter_based=True),
]
