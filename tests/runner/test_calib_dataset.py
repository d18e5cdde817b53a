import logging

import pytest
from mmengine.logging import MMLogger

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.runner.calib_dataset import (
    build_dataset,
    calibration_dataset_cfg,
    labels_first,
    warn_about_overlap,
)

LOAD, PACK = dict(type="LoadImageFromFile"), dict(type="PackDetInputs")
RESIZE, LABELS = dict(type="Resize", scale=(9, 9)), dict(type="LoadAnnotations", with_bbox=True)
TRAIN = dict(type="CocoDataset", ann_file="train.json", pipeline=[LOAD, LABELS, PACK])
TEST = dict(dataset=dict(type="CocoDataset", ann_file="val.json", pipeline=[LOAD, RESIZE, PACK]))


def wrapped(dataset: dict, *wrappers: str) -> dict:
    for wrapper in wrappers:
        dataset = dict(type=wrapper, dataset=dataset)
    return dataset


@pytest.mark.parametrize(
    "wrappers",
    [(), ("RepeatDataset",), ("MultiImageMixDataset",), ("RepeatDataset", "ClassBalancedDataset")],
)
def test_train_split_under_the_test_pipeline(wrappers):
    cfg = dict(train_dataloader=dict(dataset=wrapped(TRAIN, *wrappers)), test_dataloader=TEST)
    found = calibration_dataset_cfg(cfg)
    assert (found["type"], found["ann_file"]) == ("CocoDataset", "train.json")
    assert [step["type"] for step in found["pipeline"] if step != LABELS] == [
        step["type"] for step in (LOAD, RESIZE, PACK)
    ]
    assert TRAIN["pipeline"] == [LOAD, LABELS, PACK]
    assert TEST["dataset"]["pipeline"] == [LOAD, RESIZE, PACK]


def test_pipeline_of_a_wrapped_test_set():
    test = dict(dataset=wrapped(TEST["dataset"], "RepeatDataset"))
    found = calibration_dataset_cfg(
        dict(train_dataloader=dict(dataset=TRAIN), test_dataloader=test)
    )
    assert RESIZE in found["pipeline"]


def test_own_calibration_set_comes_first():
    own = dict(type="CocoDataset", ann_file="calib.json", pipeline=[LOAD, PACK])
    cfg = dict(
        train_dataloader=dict(dataset=TRAIN),
        test_dataloader=TEST,
        calib_dataloader=dict(dataset=own),
    )
    assert calibration_dataset_cfg(cfg)["ann_file"] == "calib.json"
    assert own["pipeline"] == [LOAD, PACK]


@pytest.mark.parametrize("wrappers", [(), ("RepeatDataset",)])
def test_several_sets_need_a_choice(wrappers):
    several = dict(type="ConcatDataset", datasets=[TRAIN, TRAIN])
    cfg = dict(train_dataloader=dict(dataset=wrapped(several, *wrappers)), test_dataloader=TEST)
    with pytest.raises(ConfigError, match="ConcatDataset of several sets.*calib_dataloader"):
        calibration_dataset_cfg(cfg)


@pytest.mark.parametrize("missing", ["train_dataloader", "test_dataloader"])
def test_nothing_to_derive_it_from(missing):
    cfg = dict(train_dataloader=dict(dataset=TRAIN), test_dataloader=TEST)
    cfg[missing] = None
    with pytest.raises(ConfigError, match="calib_dataloader = dict"):
        calibration_dataset_cfg(cfg)


def test_unknown_dataset_type_is_named(tmp_path):
    cfg = dict(type="CocoDatset", ann_file="train.json")
    with pytest.raises(CalibrationDataError, match="cannot read the test set.*CocoDatset"):
        build_dataset(cfg, "the test set")


class Paths:
    """A dataset that knows only its images' paths."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def get_data_info(self, index: int) -> dict[str, str]:
        return {"img_path": self.paths[index]}


@pytest.mark.parametrize(
    ("calibration", "shared"), [(["a", "b"], 2), (["a", "x"], 1), (["x", "y", "z"], 0)]
)
def test_overlap_is_counted_and_warned_about(calibration, shared, monkeypatch):
    said = []
    logger = MMLogger.get_instance("overlap")
    monkeypatch.setattr(logger, "log", lambda level, text: said.append((level, text)))
    monkeypatch.setattr(MMLogger, "get_current_instance", lambda: logger)
    assert warn_about_overlap(calibration, Paths("a", "b", "c")) == shared
    expected = f"{shared} of {len(calibration)} calibration images are in the test set"
    assert [(level, text.startswith(expected)) for level, text in said] == (
        [(logging.WARNING, True)] if shared else []
    )


def test_the_same_image_by_another_path_counts(tmp_path):
    image = tmp_path / "a.png"
    image.touch()
    other = f"{tmp_path}/sub/../a.png"
    (tmp_path / "sub").mkdir()
    assert warn_about_overlap([other], Paths(str(image))) == 1


@pytest.mark.parametrize("pack", ["mmptq.PackClassInputs", "PackInputs", "mmpretrain.PackInputs"])
def test_a_classification_pipeline_loads_no_boxes(pack):
    pipeline = [LOAD, RESIZE, dict(type=pack)]
    found = labels_first(pipeline)
    assert found == pipeline
    assert found is not pipeline
