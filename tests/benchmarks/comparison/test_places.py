"""benchmarks/comparison/places.py: where data and weights are looked for."""

import pytest

from mmptq.errors import ConfigError


@pytest.fixture
def places(tmp_path):
    """Nothing is there yet."""
    from comparison.places import Places

    def make(roots=None, checkpoints=None):
        return Places(tmp_path / "data", roots, checkpoints)

    return make


def test_a_missing_set_says_which_options_give_it(places):
    with pytest.raises(ConfigError, match=r"needs the set coco_subset.*data-root coco_subset="):
        places().check("yolox_nano")


def test_the_set_that_is_tested_on_is_needed_too(places, tmp_path):
    with pytest.raises(ConfigError, match=r"needs the set coco_val416"):
        places({"coco_subset": str(tmp_path)}).check("yolox_nano")


def test_missing_weights_say_where_they_were_looked_for(places, tmp_path):
    (tmp_path / "data/cifar10").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"cifar10/resnet20.pth.*--checkpoint resnet20=FILE"):
        places().check("resnet20")
    (tmp_path / "data/cifar10/resnet20.pth").touch()
    places().check("resnet20")
    with pytest.raises(ConfigError, match=r"no float weights in nowhere\.pth"):
        places(checkpoints={"resnet20": "nowhere.pth"}).check("resnet20")


def test_calibration_and_test_images_may_be_of_two_sets(places, tmp_path):
    from comparison.places import read_model_config

    weights = tmp_path / "w.pth"
    weights.touch()
    found = places({"coco_val416": "/test"}, {"yolox_nano": str(weights)})
    cfg = read_model_config("yolox_nano", found, tmp_path / "run")
    assert cfg.train_dataloader.dataset.dataset.data_root == f"{tmp_path}/data/coco_subset/"
    assert cfg.test_dataloader.dataset.data_root == "/test"
    assert cfg.test_evaluator.ann_file == "/test/annotations/instances_val2017.json"
    assert cfg.load_from == str(weights)


def test_a_name_that_is_no_sets_is_refused():
    from comparison.lookup import pairs

    with pytest.raises(ConfigError, match=r"no data set 'cifar'; did you mean cifar10\?"):
        pairs(["cifar=/x"], "--data-root", ["bccd", "cifar10"], "data set")
    with pytest.raises(ConfigError, match=r"--data-root /x: must have the form NAME=VALUE"):
        pairs(["/x"], "--data-root", ["bccd"], "data set")
