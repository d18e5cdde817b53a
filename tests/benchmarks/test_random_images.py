"""benchmarks/random_images.py: noise in the form of a calibration set."""

import torch


def test_every_pass_gives_the_same_images_afresh():
    from random_images import RandomImages

    images = RandomImages(3, (8, 12))
    first, second = list(images), list(images)
    assert [position for position, _ in first] == [0, 1, 2]
    assert len(images) == images.num_images == len(set(images.paths)) == 3
    for (_, a), (_, b) in zip(first, second, strict=True):
        (image,), (sample,) = a["inputs"], a["data_samples"]
        assert (image.shape, image.dtype) == ((3, 8, 12), torch.uint8)
        assert sample.metainfo["img_shape"] == (8, 12)
        assert torch.equal(image, b["inputs"][0])
        assert image is not b["inputs"][0]  # a preprocessor may write into it
    assert not torch.equal(first[0][1]["inputs"][0], first[1][1]["inputs"][0])
