"""The DeepPCB set (circuit boards, 640x640); docs/howto/data_sets.md says how to get it.

Boxes are about 34 pixels: images keep their size. Training on crops shows the same boxes at a
quarter of the cost, and each epoch others.
"""

_base_ = "../../_base_/data/coco_form.py"

data_root = "data/deeppcb/"
metainfo = dict(classes=("open", "short", "mousebite", "spur", "copper", "pin-hole"))

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="RandomCrop",
        crop_size=(320, 320),
        crop_type="absolute",
        allow_negative_crop=False,
    ),
    # A board has no up or down.
    dict(
        type="RandomFlip",
        prob=[0.25, 0.25, 0.25],
        direction=["horizontal", "vertical", "diagonal"],
    ),
    dict(type="PackDetInputs"),
]
_base_.test_pipeline[1].update(scale=(640, 640))

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
