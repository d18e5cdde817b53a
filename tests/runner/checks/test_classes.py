"""Heads, metainfo and categories must mean the same by a label (in other order, misspelt, ...)."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from mmptq.errors import ConfigError
from mmptq.runner.checks import check_class_names, check_classes, classes
from mmptq.runner.checks.categories import read_categories
from tests.tiny_project import CLASSES

Make = Callable[..., Any]


@pytest.fixture
def make(tiny_project: Any, tmp_path: Path) -> Make:
    """``make(classes, categories)``: a set of these, the categories of its file in their order."""
    init_default_scope("mmdet")
    cfg = tiny_project("retinanet").load(tmp_path).test_dataloader.dataset
    content = json.loads((tiny_project("retinanet").root / "val.json").read_text())

    def build(classes: Any = CLASSES, categories: Any = CLASSES) -> Any:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}_annotations.json"
        ids = [1, 2, 3, 4, 7, 8]
        listed = [{"id": i, "name": n} for i, n in zip(ids, categories, strict=False)]
        file.write_text(json.dumps(content | {"categories": listed}))
        own = copy.deepcopy(cfg) | {"ann_file": str(file), "metainfo": {"classes": classes}}
        return DATASETS.build(own)

    return build


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged."""
    texts: list[str] = []
    monkeypatch.setattr(classes, "print_log", lambda text, **_: texts.append(text))
    return texts


def head(count: int = 4, name: str = "bbox_head") -> nn.Module:
    model = nn.Module()
    part = nn.Module()
    part.num_classes = count
    model.add_module(name, part)
    return model


def test_equal_sets_pass_without_a_word(make, said):
    check_classes(head(), make(), make())
    assert said == []


@pytest.mark.parametrize("which", ["the test set", "the calibration set"])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("ant", "bee", "catt", "dog"), ["'catt'", "did you mean 'cat'", "ant, bee, cat, dog"]),
        (("ant", "bee", "cat", "yak"), ["'yak'", "1 of the 4"]),
        (("w", "x", "y", "z"), ["4 of the 4", "'w'"]),
    ],
)
def test_classes_that_the_file_lacks(make, which, names, words):
    sets = [make(names), make()] if which == "the calibration set" else [make(), make(names)]
    with pytest.raises(ConfigError) as error:
        check_classes(head(), *sets)
    for word in (which, "annotations.json", "metainfo", *words):
        assert word in str(error.value)


def test_more_categories_than_classes_are_tolerated(make, said):
    check_classes(head(), make(), make(CLASSES, (*CLASSES, "emu")))
    check_classes(head(3), make(CLASSES[:3]), make(CLASSES[:3]))
    assert said == []


@pytest.mark.parametrize("count", [1, 3, 5, 80])
def test_heads_of_another_number_of_classes(make, count):
    with pytest.raises(ConfigError, match=f"4 classes.*bbox_head has num_classes = {count}"):
        check_classes(head(count), make(), make())


@pytest.mark.parametrize("name", ["rpn_head", "backbone"])
def test_what_has_other_classes_by_its_nature(make, name):
    check_classes(head(1, name), make(), make())


def test_heads_of_real_models(make_detector):
    assert dict(classes.heads(make_detector("retinanet"))) == {"bbox_head": 4}
    assert dict(classes.heads(make_detector("faster_rcnn"))) == {"roi_head.bbox_head": 4}


def test_panoptic_sets_have_things_too(make):
    dataset = make()
    dataset._metainfo["thing_classes"] = CLASSES[:2]
    check_classes(head(2), dataset, dataset)


def test_another_order_of_the_files_categories(make, said):
    with pytest.raises(ConfigError, match="label 0 is 'dog' in the test set.*'ant' in the calib"):
        check_classes(head(), make(), make(categories=CLASSES[::-1]))
    # MMDetection's labels follow the file: only the names in pictures are wrong.
    said.clear()
    check_classes(head(), make(), make(classes=CLASSES[::-1]))
    assert len(said) == 1
    assert "label 0 is 'ant', pictures will call it 'dog'" in said[0]


def test_sets_of_other_classes_are_compared_one_by_one(make):
    both = DATASETS.build(dict(type="ConcatDataset", datasets=[make(), make()]))
    check_classes(head(), both, both)
    with pytest.raises(ConfigError, match="3 classes"):
        mixed = dict(type="ConcatDataset", datasets=[make(), make(CLASSES[:3])])
        check_classes(head(), both, DATASETS.build(mixed))


def test_one_string_is_no_tuple(make, tmp_path):
    with pytest.raises(ConfigError, match=r"test set: metainfo.classes = 'cell'.*\('cell',\)"):
        check_class_names("cell", "the test set")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES))
    check_class_names(str(names), "the test set")
    check_class_names(CLASSES, "the test set")
    dataset = make()
    dataset._metainfo["classes"] = "cell"
    with pytest.raises(ConfigError, match="one string"):
        check_classes(head(), dataset, make())


@pytest.mark.parametrize("indent", [None, 2])
def test_categories_are_read_alone(tmp_path, indent):
    content = {
        "info": {"categories": ["a list of another kind"], "note": '"categories": none'},
        "categories": [{"id": 3, "name": "a"}, {"id": 1, "name": "b"}],
        "annotations": [{"id": 1, "text": 'the "categories" of'}],
    }
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content, indent=indent))
    assert read_categories(str(file), None) == {3: "a", 1: "b"}
    file.write_text(json.dumps({"images": []}))
    assert read_categories(str(file), None) == {}
