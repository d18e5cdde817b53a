import cv2
import numpy as np
import pytest

from mmptq.datasets import DigitCrops, digit_crops, make_digit_crops
from mmptq.datasets.digits import load_sources

FEW = {"train": 60, "val": 40}

# The first validation images of the default set.
KNOWN_LABELS = [9, 6, 1, 9, 3]
KNOWN_MEANS = [126.382, 112.439, 87.184, 100.703, 170.881]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_digit_crops(tmp_path_factory.mktemp("set") / "crops", num_images=FEW)


def test_first_images_of_the_default_set_stay_what_they_are():
    """The shipped figures belong to this set: a change of the drawing must raise VERSION."""
    sources = load_sources("val")
    drawn = [digit_crops.render_crop("val", index, sources) for index in range(5)]
    assert digit_crops.VERSION == "crops 1"
    assert [label for _, label in drawn] == KNOWN_LABELS
    assert [float(image.mean()) for image, _ in drawn] == pytest.approx(KNOWN_MEANS, abs=0.01)
    assert all(image.shape == (28, 28, 3) and image.dtype == np.uint8 for image, _ in drawn)


def test_every_image_stands_in_the_folder_of_its_digit(root):
    for split, count in FEW.items():
        sources = load_sources(split)
        files = sorted(path for path in (root / split).rglob("*.png"))
        assert len(files) == count
        for path in files[::7]:
            image, digit = digit_crops.render_crop(split, int(path.stem), sources)
            assert path.parent.name == str(digit)
            np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], image)


def test_a_digit_can_be_told_from_its_background():
    sources = load_sources("train")
    for index in range(20):
        image, _ = digit_crops.render_crop("train", index, sources)
        assert image.astype(float).std() > 8


def test_it_is_made_on_first_use(tmp_path, monkeypatch):
    monkeypatch.setattr(digit_crops, "NUM_CROPS", FEW)
    dataset = DigitCrops(data_root=str(tmp_path / "crops"), data_prefix={"img": "val/"})
    assert len(dataset) == 40
    assert dataset.metainfo["classes"] == tuple("0123456789")
    item = dataset.get_data_info(0)
    assert item["gt_label"] == 0 and item["img_path"].startswith(str(tmp_path / "crops/val/0"))
    stamp = (tmp_path / "crops/digits.json").stat().st_mtime_ns
    DigitCrops(data_root=str(tmp_path / "crops"), data_prefix={"img": "train/"}).full_init()
    assert (tmp_path / "crops/digits.json").stat().st_mtime_ns == stamp


def test_something_else_is_not_overwritten(root, tmp_path):
    with pytest.raises(FileExistsError, match="num_images"):
        make_digit_crops(root, num_images={"train": 1, "val": 1})
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is not the digits set"):
        make_digit_crops(tmp_path)
