"""Normalisation by ImageNet's statistics."""

model = dict(
    data_preprocessor=dict(
        type="ImgDataPreprocessor",
        mean=[123.675, 116.28, 103.53],  # 255 * (0.485, 0.456, 0.406)
        std=[58.395, 57.12, 57.375],  # 255 * (0.229, 0.224, 0.225)
        bgr_to_rgb=True,
    ),
)
