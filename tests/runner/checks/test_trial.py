"""The evaluation is tried on an image: what would fail at its end fails before any work."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import DATASETS, EVALUATOR, init_default_scope

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.runner.checks import trial as module
from mmptq.runner.checks import try_evaluator
from tests.tiny_project import NUM_VAL, TinyProject


@pytest.fixture
def project(tiny_project: Callable[[str], TinyProject]) -> TinyProject:
    init_default_scope("mmdet")
    return tiny_project("retinanet")


@pytest.fixture
def test_set(project: TinyProject, tmp_path: Path) -> Any:
    return DATASETS.build(project.load(tmp_path).test_dataloader.dataset)


@pytest.fixture
def model(make_wrapped: Any) -> Any:
    return make_wrapped("retinanet")


def coco(project: TinyProject, **kwargs: Any) -> dict[str, Any]:
    return dict(type="CocoMetric", ann_file=str(project.root / "val.json")) | kwargs


def test_nothing_is_left_behind(project, model, test_set, tmp_path):
    old = tmp_path / "found.bbox.json"
    old.write_text("of an earlier run")
    dump = dict(type="DumpDetResults", out_file_path=str(tmp_path / "found.pkl"))
    metric = coco(project, outfile_prefix=str(tmp_path / "found"))
    evaluator = Evaluator([metric, dump, dict(type="VOCMetric")])
    before = [copy.copy(vars(metric)) for metric in evaluator.metrics]
    try_evaluator(model, evaluator, test_set)
    assert [vars(metric) for metric in evaluator.metrics] == before
    assert evaluator.dataset_meta is None
    assert old.read_text() == "of an earlier run"
    assert list(tmp_path.glob("found*")) == [old]


def test_only_the_tried_images_annotations_are_evaluated(project, model, test_set, monkeypatch):
    seen = []
    evaluate = module.Evaluator.evaluate
    monkeypatch.setattr(
        module.Evaluator,
        "evaluate",
        lambda self, size: seen.append(self.metrics[0]._coco_api.imgs) or evaluate(self, size),
    )
    try_evaluator(model, Evaluator(coco(project)), test_set)
    assert [list(images) for images in seen] == [[0]]


def test_an_image_with_objects_is_preferred(test_set):
    info = test_set.get_data_info
    test_set.get_data_info = lambda i: info(i) | ({"instances": []} if i < 3 else {})
    assert [i for i, _ in module._images(test_set, 1)] == [3]
    assert [i for i, _ in module._images(test_set, 3)] == [0, 3, 4]


@pytest.mark.parametrize("other_classes", [False, True])
def test_several_sets(project, model, test_set, tmp_path, other_classes):
    cfg = project.load(tmp_path).test_dataloader.dataset
    other = copy.deepcopy(cfg)
    if other_classes:  # then each set has metainfo of its own
        other.metainfo.palette = [(0, 0, 0)] * 4
    both = DATASETS.build(dict(type="ConcatDataset", datasets=[cfg, other]))
    assert isinstance(both.metainfo, list) == other_classes
    evaluator = EVALUATOR.build(
        dict(
            type="MultiDatasetsEvaluator",
            metrics=[coco(project), coco(project)],
            dataset_prefixes=["A", "B"],
        )
    )
    assert [i for i, _ in module._images(both, 1)] == [0, NUM_VAL]
    try_evaluator(model, evaluator, both)
    evaluator.metrics.pop()
    evaluator.dataset_prefixes.pop()
    with pytest.raises(ConfigError, match="test_evaluator fails"):
        try_evaluator(model, evaluator, both)


def test_an_evaluator_that_fails(model, test_set):
    with pytest.raises(
        ConfigError, match=r"test_evaluator fails.*val/0.png: AssertionError: ground"
    ):
        try_evaluator(model, Evaluator(dict(type="CocoMetric")), test_set)


def test_annotations_of_other_images(project, model, test_set, tmp_path):
    content = json.loads((project.root / "val.json").read_text())
    for kind, key in (("images", "id"), ("annotations", "image_id")):
        for entry in content[kind]:
            entry[key] += 1000
    (tmp_path / "other.json").write_text(json.dumps(content))
    evaluator = Evaluator(coco(project, ann_file=str(tmp_path / "other.json")))
    with pytest.raises(ConfigError, match="do not correspond to current coco set.*ann_file"):
        try_evaluator(model, evaluator, test_set)


class Demanding(BaseMetric):
    """Needs more than one image, as a correlation does."""

    default_prefix = "own"

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(data_samples)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {"value": 1 / (len(results) - 1)}


def test_a_metric_may_need_several_images(model, test_set):
    try_evaluator(model, Evaluator(Demanding()), test_set)


def test_an_image_that_cannot_be_read(model, test_set, monkeypatch):
    test_set.pipeline.transforms[0].backend_args = dict(backend="petrel")
    with pytest.raises(CalibrationDataError, match=r"cannot load test image .*val/0.png: "):
        try_evaluator(model, Evaluator(Demanding()), test_set)


def test_a_model_that_fails(model, test_set):
    model.model.bbox_head.test_cfg.nms.type = "nmss"
    with pytest.raises(ConfigError, match=r"the float model fails on .*val/0.png: NameError"):
        try_evaluator(model, Evaluator(Demanding()), test_set)
