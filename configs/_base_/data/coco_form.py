"""Loaders and evaluator of a detection set in COCO form.

Below ``data_root``: ``annotations/{train,val}.json``, and the images in ``train/`` and ``val/``. A set's
own file adds ``data_root``, the size of a batch, and what is done with an image.
"""

dataset_type = "CocoDataset"

test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]

train_dataloader = dict(
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        ann_file="annotations/train.json",
        data_prefix=dict(img="train/"),
        filter_cfg=dict(filter_empty_gt=True),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file="annotations/val.json",
        data_prefix=dict(img="val/"),
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="CocoMetric", metric="bbox", format_only=False)
test_evaluator = val_evaluator
