"""Transforms of classification pipelines that mmcv does not have."""

from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmptq.errors import ConfigError
from mmptq.registry import TRANSFORMS
from mmptq.structures import ClassSample

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


@TRANSFORMS.register_module()
class ResizeEdge(BaseTransform):
    """Resizes the image so that its shorter edge has a length; its form stays.

    Args:
        scale: Length in pixels.
        interpolation: One of :data:`INTERPOLATIONS`.

    Raises:
        ConfigError: An argument that cannot work.
    """

    def __init__(self, scale: int, interpolation: str = "bilinear") -> None:
        if not isinstance(scale, int) or scale < 1:
            raise ConfigError(f"ResizeEdge.scale = {scale!r}: must be a whole number from 1")
        if interpolation not in INTERPOLATIONS:
            raise ConfigError(
                f"ResizeEdge.interpolation = {interpolation!r}: must be one of "
                f"{', '.join(INTERPOLATIONS)}"
            )
        self.scale, self.interpolation = scale, interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img`` and ``img_shape``."""
        height, width = results["img"].shape[:2]
        factor = self.scale / min(height, width)
        size = (
            max(self.scale, int(width * factor + 0.5)),
            max(self.scale, int(height * factor + 0.5)),
        )
        if size != (width, height):
            results["img"] = cv2.resize(
                results["img"], size, interpolation=INTERPOLATIONS[self.interpolation]
            )
        results["img_shape"] = results["img"].shape[:2]
        return results


@TRANSFORMS.register_module()
class PackClassInputs(BaseTransform):
    """The image as a tensor ``(3, H, W)`` uint8, and a sample with its label."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """``dict(inputs=..., data_samples=...)``."""
        image = results["img"]
        image = image[..., None] if image.ndim == 2 else image
        keys = ("img_path", "ori_shape", "img_shape")
        sample = ClassSample(metainfo={key: results[key] for key in keys if key in results})
        if "gt_label" in results:
            label = torch.tensor([results["gt_label"]])
            sample.set_field(label, "gt_label", field_type="data")
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return {"inputs": tensor, "data_samples": sample}
