"""Images of noise: for what does not depend on what an image shows."""

from collections.abc import Iterator
from typing import Any

import torch
from mmdet.structures import DetDataSample


class RandomImages:
    """Images of one shape, in the form of a calibration set; the same ones in every pass.

    Args:
        count: How many.
        shape: ``(height, width)`` of each.
    """

    def __init__(self, count: int, shape: tuple[int, int]) -> None:
        self.num_images = count
        self.paths = tuple(f"noise {index}" for index in range(count))
        self._shape = shape

    def __len__(self) -> int:
        return self.num_images

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(self.num_images):
            generator = torch.Generator().manual_seed(index)
            meta = dict(img_shape=self._shape, ori_shape=self._shape, scale_factor=(1.0, 1.0))
            image = torch.randint(0, 256, (3, *self._shape), generator=generator)
            batch = {
                "inputs": [image.to(torch.uint8)],
                "data_samples": [DetDataSample(metainfo=meta)],
            }
            yield index, batch
