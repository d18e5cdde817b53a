"""Names alone: which branch of a checkpoint is a model's, and what its tensors are called there."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmptq.engine.data.weight_tree import WeightTree, find_branch, state_of
from mmptq.errors import CheckpointError

OWN = {
    name: torch.zeros(1)
    for name in ("backbone.conv1.weight", "backbone.bn1.weight", "neck.0.weight", "head.cls.bias")
}


def under(prefix: str, value: float = 1.0, names: Any = OWN) -> dict[str, Tensor]:
    return {prefix + name: torch.full((1,), value) for name in names}


def find(content: Any, key: str | None = None) -> str:
    return find_branch(WeightTree.of(content), WeightTree.of(OWN), key).path


def names(content: Any) -> list[str]:
    tree, own = WeightTree.of(content), WeightTree.of(OWN)
    return sorted(state_of(find_branch(tree, own, None), own, ""))


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "model.", "detector.", "teacher.", "a.b.c.", "module._orig_mod."],
)
@pytest.mark.parametrize(
    "key", ["", "state_dict", "model", "ema", "model_state_dict", "state_dict_ema", "net", "0"]
)
def test_key_and_prefix(key, prefix):
    content: Any = under(prefix)
    if key:
        content = {key: content, "epoch": 3, "optimizer": {"state": {0: {"exp": torch.zeros(1)}}}}
    assert find(content) == ".".join(filter(None, [key, prefix.rstrip(".")]))
    assert names(content) == sorted(OWN)


def test_deep_keys():
    assert find({"a": {"b": {"weights": under("x.")}}}) == "a.b.weights.x"


@pytest.mark.parametrize("wrapper", ["_orig_mod", "module", "_fsdp_wrapped_module.module"])
@pytest.mark.parametrize("part", ["backbone", "backbone.conv1", "neck.0", "head"])
def test_a_wrapped_part_of_the_model(part, wrapper):
    """torch.compile, FSDP or activation checkpointing of one part."""
    content = {name.replace(f"{part}.", f"{part}.{wrapper}."): torch.zeros(1) for name in OWN}
    assert content.keys() != OWN.keys()
    assert names({"state_dict": content}) == sorted(OWN)


def test_another_part_in_the_same_place_is_no_wrapper():
    content = {**under(""), "head.old_cls.bias": torch.zeros(1)}
    del content["head.cls.bias"]
    assert "head.old_cls.bias" in names(content)


def test_a_part_of_more_children_is_no_wrapper():
    content = under("")
    content["neck.0.a.weight"] = content["neck.0.b.weight"] = content.pop("neck.0.weight")
    assert names(content) == sorted(
        {*OWN, "neck.0.a.weight", "neck.0.b.weight"} - {"neck.0.weight"}
    )


def test_nested_mappings_and_dotted_names_are_the_same():
    nested = {
        "backbone": {"conv1": {"weight": torch.zeros(1)}, "bn1.weight": torch.zeros(1)},
        "neck": {"0.weight": torch.zeros(1)},
        "head.cls": {"bias": torch.zeros(1)},
    }
    assert find(nested) == ""
    assert names(nested) == sorted(OWN)


def test_most_names_win():
    part = dict(list(under("").items())[:2])
    assert find({"state_dict": part, "ema": under("")}) == "ema"


@pytest.mark.parametrize("others", [["ema_state_dict"], ["model", "ema"], ["swa.module"]])
def test_mmdetections_own_place_wins(others):
    content = {other: under("module.") for other in others}
    assert find({**content, "state_dict": under("")}) == "state_dict"
    assert find({**content, "state_dict": under("model.")}) == "state_dict.model"
    assert find({**content, **under("")}) == ""


def test_several_that_fit_are_named_and_chosen_by_key():
    content = {"model": under(""), "model_ema": under("module.", 2.0), "epoch": 1}
    with pytest.raises(
        CheckpointError, match=r"2 sets .* under 'model', 'model_ema.module'; .*--checkpoint-key"
    ):
        find(content)
    assert find(content, "model") == "model"
    assert find(content, "model_ema") == find(content, "model_ema.module") == "model_ema.module"


def test_teacher_and_student():
    content = {"state_dict": {**under("teacher."), **under("student.")}}
    with pytest.raises(CheckpointError, match=r"'state_dict.student', 'state_dict.teacher'"):
        find(content)
    assert find(content, "state_dict.teacher") == "state_dict.teacher"


def test_unknown_key_names_those_that_there_are():
    with pytest.raises(CheckpointError, match=r"nothing under .*'ema'.* under 'model', 'net'"):
        find({"model": under(""), "net": under(""), "epoch": 1}, "ema")


def test_a_set_under_two_keys_counts_once():
    state = under("")
    assert find({"a": state, "b": state}) in ("a", "b")


def test_where_no_name_fits_the_models_own_hooks_decide():
    assert find({"state_dict": {"x.y": torch.zeros(1)}, "ema": {}}) == "state_dict"
    assert find({"x.y": torch.zeros(1)}) == ""


def test_versions_follow_the_names():
    model = nn.Sequential(OrderedDict(backbone=nn.BatchNorm2d(2)))
    saved = nn.ModuleDict({"module": model}).state_dict()
    own = WeightTree.of(model.state_dict())
    branch = find_branch(WeightTree.of({"state_dict": saved}), own, None)
    state = state_of(branch, own, "outer")
    assert sorted(state) == sorted(f"outer.{name}" for name in model.state_dict())
    assert state._metadata["outer.backbone"] == {"version": 2}
    assert "outer" in state._metadata


def test_what_a_file_may_hold_besides():
    """Other keys than strings; a tensor and a module of one name; a mapping in itself; depth."""
    content: dict[Any, Any] = {"state_dict": under(""), 3: under(""), None: 1, ("a",): 2}
    content["state_dict"]["backbone"] = torch.zeros(1)
    content["self"] = content
    deep: dict[str, Any] = {}
    content["deep"] = deep
    for _ in range(5000):
        deep["a"] = deep = {}
    assert find(content) == "state_dict"
    assert names(content) == sorted([*OWN, "backbone"])
