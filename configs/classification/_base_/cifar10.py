"""CIFAR-10 as JPEG images: ``data/cifar10/{train_4000,test}/<class>/``, or zip archives of them.

4000 of the training images are more than calibration takes; ``train/`` will do as well.
"""

_base_ = "./small_images.py"

data_root = "data/cifar10/"  # relative to the folder in which the command runs

pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(32, 32)),
    dict(type="mmptq.PackClassInputs"),
]
train_dataloader = dict(
    batch_size=128,
    dataset=dict(data_root=data_root, data_prefix=dict(img="train_4000/"), pipeline=pipeline),
)
test_dataloader = dict(
    dataset=dict(data_root=data_root, data_prefix=dict(img="test/"), pipeline=pipeline)
)
val_dataloader = test_dataloader
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=200)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4)
)
