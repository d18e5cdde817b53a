"""ImageNet-1k in its usual folders: ``data/imagenet/{train,val}/<synset>/``."""

data_root = "data/imagenet/"  # relative to the folder in which the command runs

test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmptq.ResizeEdge", scale=256),
    dict(type="CenterCrop", crop_size=224),
    dict(type="mmptq.PackClassInputs"),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mmptq.ImageFolder",
        data_root=data_root,
        data_prefix=dict(img="train/"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmptq.ImageFolder",
        data_root=data_root,
        data_prefix=dict(img="val/"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_evaluator = dict(type="mmptq.TopKAccuracy", topk=(1, 5))
test_cfg = dict(type="TestLoop")
