"""Calibration images that the detector has not memorised: the training images, distorted.

A detector's loss with labels on the images that it was trained on also measures how well it
remembers them: on BCCD, that of the float RetinaNet is 0.6 on training images, and 6 to 7 on the
same images turned, moved and scaled a little.
"""

calib_dataloader = dict(
    dataset=dict(
        type="CocoDataset",
        metainfo=dict(classes=("RBC", "WBC", "Platelets")),
        data_root="data/bccd/",
        ann_file="annotations/train.json",
        data_prefix=dict(img="train/"),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="Resize", scale=(320, 240), keep_ratio=True),
            dict(
                type="RandomAffine",
                max_rotate_degree=15.0,
                max_translate_ratio=0.1,
                scaling_ratio_range=(0.8, 1.2),
                max_shear_degree=2.0,
            ),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
            ),
        ],
    )
)
