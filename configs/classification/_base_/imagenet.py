"""ImageNet-1k in its usual folders: ``data/imagenet/{train,val}/<synset>/``."""

_base_ = "./image_folders.py"

data_root = "data/imagenet/"  # relative to the folder in which the command runs

test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmptq.ResizeEdge", scale=256),
    dict(type="CenterCrop", crop_size=224),
    dict(type="mmptq.PackClassInputs"),
]
train_dataloader = dict(batch_size=64, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = train_dataloader
test_cfg = dict(type="TestLoop")
