"""Loaders of images in a folder for each class below ``data_root``, and top-1 and top-5.

A set's own file adds ``data_root``, the folder of each split, and what is done with an image.
"""

train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="mmptq.ImageFolder", data_prefix=dict(img="train/")),
)
test_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="mmptq.ImageFolder", data_prefix=dict(img="val/"), test_mode=True),
)
test_evaluator = dict(type="mmptq.TopKAccuracy", topk=(1, 5))
