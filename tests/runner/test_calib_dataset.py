import logging

import pytest
from mmcv.transforms import LoadAnnotations, LoadImageFromFile, Resize
from mmengine.logging import MMLogger

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.runner.calib_dataset import (
    build_dataset,
    calibration_dataset_cfg,
    labels_first,
    warn_about_overlap,
)

LOAD, PACK = dict(type="LoadImageFromFile"), dict(type="PackDetInputs")
RESIZE = dict(type="Resize", scale=(9, 9))
LABELS = dict(type="mmdet.LoadAnnotations", with_bbox=True)
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


OTHER = dict(TRAIN, ann_file="other.json")


@pytest.mark.parametrize("wrappers", [(), ("RepeatDataset",), ("MultiImageMixDataset",)])
@pytest.mark.parametrize(
    "several",
    [
        dict(type="ConcatDataset", datasets=[TRAIN, wrapped(OTHER, "RepeatDataset")]),
        [TRAIN, OTHER],
    ],
)
def test_several_sets_are_taken_together(wrappers, several):
    test = dict(dataset=dict(type="ConcatDataset", datasets=[TEST["dataset"]] * 2))
    cfg = dict(train_dataloader=dict(dataset=wrapped(several, *wrappers)), test_dataloader=test)
    found = calibration_dataset_cfg(cfg)
    assert found["type"] == "ConcatDataset"
    assert [inner["ann_file"] for inner in found["datasets"]] == ["train.json", "other.json"]
    assert [inner["pipeline"] for inner in found["datasets"]] == [[LOAD, LABELS, RESIZE, PACK]] * 2


def test_labels_are_loaded_as_in_training():
    masks = dict(type="mmdet.LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False)
    proposals = dict(type="LoadProposals", num_max_proposals=9)
    train = dict(TRAIN, pipeline=[LOAD, masks, dict(type="RandomFlip"), PACK])
    test = [LOAD, proposals, RESIZE, LABELS, PACK]
    cfg = dict(
        train_dataloader=dict(dataset=wrapped(train, "MultiImageMixDataset")),
        test_dataloader=dict(dataset=dict(type="CocoDataset", pipeline=test)),
    )
    found = calibration_dataset_cfg(cfg)["pipeline"]
    assert found == [LOAD, proposals, masks, RESIZE, PACK]


class PolygonLabels(LoadAnnotations):
    """A label loader by its class, whatever its name."""


def test_label_loaders_are_known_by_their_class():
    steps = [dict(type=LoadImageFromFile), dict(type=Resize, scale=(9, 9)), PACK]
    own = dict(type=PolygonLabels, with_mask=True)
    assert labels_first(steps, [dict(type=LoadImageFromFile), own]) == [
        steps[0],
        own,
        *steps[1:],
    ]


def test_an_image_loader_of_any_name_comes_first():
    reader = dict(type="LmdbReader")
    assert labels_first([reader, RESIZE, PACK]) == [reader, LABELS, RESIZE, PACK]


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
