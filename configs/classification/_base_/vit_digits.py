"""A small vision transformer and the demo classification set, made on first use.

From random weights to a trained model in about 20 minutes on one CPU core (tools/train_vit.py).
"""

_base_ = ["mmdet::_base_/default_runtime.py"]

# In mmptq's cache folder. For MMEngine an import statement would make this a pure-Python config.
data_root = f"{__import__('mmptq.fileio').fileio.cache_folder()}/digit_crops/"
model = dict(
    type="mmptq.VisionTransformer",
    image_size=28,
    patch_size=4,
    embed_dims=64,
    depth=3,
    num_heads=4,
    conv_stem=True,
    num_classes=10,
    data_preprocessor=dict(
        type="ImgDataPreprocessor",
        mean=[127.5, 127.5, 127.5],
        std=[63.75, 63.75, 63.75],
        bgr_to_rgb=True,
    ),
)
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
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mmptq.DigitCrops",
        data_root=data_root,
        data_prefix=dict(img="train/"),
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=250,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmptq.DigitCrops",
        data_root=data_root,
        data_prefix=dict(img="val/"),
        test_mode=True,
        pipeline=pipeline,
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="mmptq.TopKAccuracy", topk=(1, 5))
val_evaluator = test_evaluator
test_cfg = dict(type="TestLoop")
val_cfg = dict(type="ValLoop")
max_epochs = 20
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=250),
    dict(
        type="CosineAnnealingLR",
        T_max=max_epochs,
        eta_min=0,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
load_from = "{{ fileDirname }}/../../../checkpoints/demo/vit_digits.pth"
