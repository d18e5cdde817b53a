"""The BCCD set (blood cells, 640x480) at half its size; docs/howto/data_sets.md tells more."""

_base_ = "../../_base_/data/coco_form.py"

data_root = "data/bccd/"
metainfo = dict(classes=("RBC", "WBC", "Platelets"))
image_scale = (320, 240)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    # A smear has no up or down.
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),
    dict(type="PackDetInputs"),
]
_base_.test_pipeline[1].update(scale=image_scale)

train_dataloader = dict(
    batch_size=8,
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(metainfo=metainfo, data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(
    dataset=dict(metainfo=metainfo, data_root=data_root, pipeline=_base_.test_pipeline)
)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + "annotations/val.json")
test_evaluator = val_evaluator
