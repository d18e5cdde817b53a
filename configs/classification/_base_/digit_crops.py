"""The demo classification set: handwritten digits, 28x28, made on first use."""

_base_ = "./small_images.py"

# In mmptq's cache folder. For MMEngine an import statement would make this a pure-Python config.
data_root = f"{__import__('mmptq.fileio').fileio.cache_folder()}/digit_crops/"

pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(28, 28)),
    dict(type="mmptq.PackClassInputs"),
]
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmptq.ShiftAndRecolour"),
    dict(type="mmptq.PackClassInputs"),
]
train_dataloader = dict(
    batch_size=64,
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="mmptq.DigitCrops", data_root=data_root, pipeline=train_pipeline),
)
test_dataloader = dict(
    dataset=dict(type="mmptq.DigitCrops", data_root=data_root, pipeline=pipeline)
)
val_dataloader = test_dataloader
