"""The demo set: handwritten digits on cluttered 160x160 canvases, made on first use."""

_base_ = "../../_base_/data/coco_form.py"

dataset_type = "mmptq.DigitsDetection"
# In mmptq's cache folder. For MMEngine an import statement would make this a pure-Python config.
data_root = f"{__import__('mmptq.fileio').fileio.cache_folder()}/demo/"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomResize", scale=[(128, 128), (192, 192)], keep_ratio=True),
    dict(type="PackDetInputs"),  # no flip: a mirrored digit is not a digit
]
_base_.test_pipeline[1].update(scale=(160, 160))

# Images are small: starting worker processes would take longer than decoding the whole set.
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(type=dataset_type, data_root=data_root, pipeline=_base_.test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + "annotations/val.json")
test_evaluator = val_evaluator
