import cv2
import numpy as np
import pytest
import torch

from mmptq.datasets import PackClassInputs, ResizeEdge
from mmptq.errors import ConfigError


@pytest.mark.parametrize(
    ("shape", "scale", "wanted"),
    [((10, 20), 5, (5, 10)), ((20, 10), 5, (10, 5)), ((7, 9), 14, (14, 18)), ((3, 10), 2, (2, 7))],
)
def test_shorter_edge(shape, scale, wanted):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    found = ResizeEdge(scale).transform(dict(img=image))
    assert found["img"].shape[:2] == found["img_shape"] == wanted
    reference = cv2.resize(image, wanted[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(found["img"], reference)


def test_right_size_is_left_alone():
    image = np.zeros((5, 9, 3), np.uint8)
    assert ResizeEdge(5).transform(dict(img=image))["img"] is image


@pytest.mark.parametrize("changes", [dict(scale=0), dict(scale=2.5), dict(interpolation="cubic")])
def test_arguments_that_cannot_work(changes):
    with pytest.raises(ConfigError, match=f"ResizeEdge.{next(iter(changes))} = "):
        ResizeEdge(**{"scale": 8, **changes})


@pytest.mark.parametrize("gray", [True, False])
def test_packed_image(gray):
    image = np.arange(24, dtype=np.uint8).reshape((4, 6) if gray else (2, 4, 3))
    packed = PackClassInputs().transform(
        dict(img=image, gt_label=3, img_path="a.png", ori_shape=(9, 9), img_shape=(4, 6))
    )
    expected = torch.from_numpy(image[None] if gray else image.transpose(2, 0, 1).copy())
    assert torch.equal(packed["inputs"], expected)
    sample = packed["data_samples"]
    assert (sample.gt_label.tolist(), sample.img_path, sample.ori_shape) == ([3], "a.png", (9, 9))
    assert "gt_label" not in PackClassInputs().transform(dict(img=image))["data_samples"]
