"""CIFAR-10 as JPEG images: ``data/cifar10/{train_4000,test}/<class>/``, or zip archives of them.

4000 of the training images are more than calibration takes; ``train/`` will do as well.
"""

data_root = "data/cifar10/"  # relative to the folder in which the command runs

pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(32, 32)),
    dict(type="mmptq.PackClassInputs"),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mmptq.ImageFolder",
        data_root=data_root,
        data_prefix=dict(img="train_4000/"),
        pipeline=pipeline,
    ),
)
# Images are small: starting worker processes would take longer than decoding them.
test_dataloader = dict(
    batch_size=250,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmptq.ImageFolder",
        data_root=data_root,
        data_prefix=dict(img="test/"),
        test_mode=True,
        pipeline=pipeline,
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="mmptq.TopKAccuracy", topk=(1, 5))
val_evaluator = test_evaluator
test_cfg = dict(type="TestLoop")
val_cfg = dict(type="ValLoop")
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=200)
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4)
)
