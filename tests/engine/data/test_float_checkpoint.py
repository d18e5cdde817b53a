import collections
import copy
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict
from torch import Tensor, nn

from mmptq.engine import load_float_checkpoint
from mmptq.engine.data.float_checkpoint import is_quantized
from mmptq.errors import CheckpointError
from mmptq.models import QuantModel


def make_state(make_detector: Any, name: str = "retinanet") -> dict[str, Tensor]:
    return make_detector(name).state_dict()


def load(make_wrapped: Any, content: Any, path: Any, key: str | None = None) -> dict[str, Tensor]:
    """What a fresh wrapper holds after loading ``content``, by the detector's own names."""
    torch.save(content, path)
    model = make_wrapped("retinanet", trained=False)
    load_float_checkpoint(model, str(path), key)
    return model.model.state_dict()


@pytest.mark.parametrize(
    "form",
    [
        *("bare", "mmengine", "data parallel", "wrapper", "without counters", "with more", "half"),
        *("lightning", "timm", "compiled backbone", "with values"),
    ],
)
def test_all_forms_load(form, make_detector, make_wrapped, tmp_path):
    wanted = make_state(make_detector)
    content: Any = dict(wanted)
    if form == "mmengine":
        content = {"meta": {"epoch": 3}, "state_dict": content, "message_hub": history()}
    elif form in ("data parallel", "wrapper"):
        prefix = "module." if form == "data parallel" else "detector."
        content = {prefix + key: value for key, value in content.items()}
    elif form == "without counters":
        content = {k: v for k, v in content.items() if not k.endswith("num_batches_tracked")}
    elif form == "with more":
        content["backbone.fc.weight"] = torch.zeros(3)
    elif form == "lightning":
        state = {f"model.{key}": value for key, value in content.items()}
        content = {"state_dict": state, "pytorch-lightning_version": "2.1", "callbacks": {}}
    elif form == "timm":
        content = {"model": content, "epoch": 3}
    elif form == "compiled backbone":
        content = {key.replace("backbone.", "backbone._orig_mod."): v for key, v in content.items()}
    elif form == "with values":
        content |= {"epoch": 3, "best": None}
    elif form == "half":
        content = {k: v.half() if v.is_floating_point() else v for k, v in content.items()}
        wanted = {k: v.to(wanted[k].dtype) for k, v in content.items()}
    loaded = load(make_wrapped, content, tmp_path / "float.pth")
    assert {k: v.dtype for k, v in loaded.items()} == {k: v.dtype for k, v in wanted.items()}
    assert all(torch.equal(loaded[key], wanted[key]) for key in wanted)


def history() -> dict[str, Any]:
    """The training log as MMEngine keeps it in its checkpoints."""
    buffer = HistoryBuffer(log_history=[1.0, 0.5], count_history=[1, 1])
    buffer.update(0.25)
    scalars = {"train/loss": buffer, "lr": HistoryBuffer(np.array([1e-3]), np.array([1]))}
    return {"log_scalars": scalars, "runtime_info": {"iter": np.int64(3), "mode": "train"}}


@pytest.mark.parametrize("content", [{}, [1, 2], {"state_dict": {"a": 1}}, torch.zeros(3)])
def test_other_content(content, make_wrapped, tmp_path):
    with pytest.raises(CheckpointError, match="odd.pth holds no state dict"):
        load(make_wrapped, content, tmp_path / "odd.pth")


@pytest.mark.parametrize("name", ["none.pth", "garbage.pth"])
def test_unreadable_file(name, make_wrapped, tmp_path):
    (tmp_path / "garbage.pth").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match=rf"--checkpoint or load_from.*{name}"):
        load_float_checkpoint(make_wrapped("retinanet"), str(tmp_path / name))


@pytest.mark.parametrize("key", [None, "model"])
def test_a_whole_pickled_model_is_refused(key, make_detector, make_wrapped, tmp_path):
    model = make_detector("retinanet")
    with pytest.raises(CheckpointError, match=r"RetinaNet.*torch.save\(model.state_dict\(\)") as e:
        load(make_wrapped, model if key is None else {key: model}, tmp_path / "float.pth")
    assert "\n" not in str(e.value)


def test_arrays_in_place_of_tensors_are_named(make_detector, make_wrapped, tmp_path):
    state: Any = {key: value.numpy() for key, value in make_state(make_detector).items()}
    state["backbone.fc.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"'backbone.conv1.weight' is no tensor .*numpy"):
        load(make_wrapped, {"state_dict": state}, tmp_path / "float.pth")


def test_names_of_another_kind_are_shown(make_wrapped, tmp_path):
    content = {"state_dict": {"encoder.stem.weight": torch.zeros(3)}}
    with pytest.raises(
        CheckpointError, match=r"'state_dict'\) is of another model: .*encoder.stem"
    ):
        load(make_wrapped, content, tmp_path / "float.pth")


def test_averaged_weights_are_chosen_by_key(make_detector, make_wrapped, tmp_path):
    state = make_state(make_detector)
    ema = {f"module.{key}": value + 1 for key, value in state.items()}
    content = {"state_dict": state, "ema_state_dict": {**ema, "steps": torch.tensor(3)}}
    loaded = load(make_wrapped, content, tmp_path / "float.pth")
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    loaded = load(make_wrapped, content, tmp_path / "float.pth", "ema_state_dict")
    assert all(torch.equal(loaded[key], state[key] + 1) for key in state)
    with pytest.raises(
        CheckpointError, match=r"float.pth: .*'swa'.*'ema_state_dict', 'state_dict'"
    ):
        load(make_wrapped, content, tmp_path / "float.pth", "swa")


def test_a_pickled_mapping_of_another_class(make_detector, make_wrapped, tmp_path):
    """Lightning's and others' subclasses of dict are filled item by item."""
    state = make_state(make_detector)
    loaded = load(
        make_wrapped, {"state_dict": collections.defaultdict(list, state)}, tmp_path / "a"
    )
    assert all(torch.equal(loaded[key], state[key]) for key in state)


# --- what MMDetection's own load hooks understand ---------------------------------------------------


def assert_loads_as_mmengine_does(cfg: dict[str, Any], content: Any, path: Any) -> None:
    wanted, model = build(cfg), build(cfg)
    load_state_dict(wanted, content.get("state_dict", content))
    torch.save(content, path)
    load_float_checkpoint(wrap(model), str(path))
    found = model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in wanted.state_dict().items())


def build(cfg: dict[str, Any]) -> nn.Module:
    return MODELS.build(ConfigDict(**copy.deepcopy(cfg), _scope_="mmdet"))


def wrap(model: nn.Module) -> QuantModel:
    return QuantModel(model, "detector")


@pytest.mark.parametrize("versions", [True, False])
def test_old_names_of_a_head(versions, detector_cfgs, tmp_path):
    cfg = fcos(detector_cfgs["retinanet"])
    state = build(cfg).state_dict()
    for part in ("cls", "reg", "centerness") if not versions else ():
        for kind in ("weight", "bias"):
            state[f"bbox_head.fcos_{part}.{kind}"] = state.pop(f"bbox_head.conv_{part}.{kind}")
    if not versions:
        del state._metadata
    assert_loads_as_mmengine_does(cfg, {"state_dict": state}, tmp_path / "float.pth")


def fcos(retinanet: dict[str, Any]) -> dict[str, Any]:
    head = dict(type="FCOSHead", num_classes=4, in_channels=16, feat_channels=16, stacked_convs=1)
    head["norm_cfg"] = None
    return {**copy.deepcopy(retinanet), "type": "FCOS", "bbox_head": head}


def test_a_proposal_network_from_a_two_stage_detector(detector_cfgs, tmp_path):
    two_stage = detector_cfgs["faster_rcnn"]
    head = {**two_stage["rpn_head"], "num_classes": 1}
    cfg = {k: v for k, v in two_stage.items() if k in ("data_preprocessor", "backbone", "neck")}
    cfg |= dict(type="RPN", rpn_head=head, test_cfg=two_stage["test_cfg"], train_cfg=None)
    assert_loads_as_mmengine_does(cfg, build(two_stage).state_dict(), tmp_path / "float.pth")


def test_a_layer_that_makes_up_what_is_missing(detector_cfgs, tmp_path):
    """Weight-standardised convolutions take the checkpoint of a plain network."""
    plain = copy.deepcopy(detector_cfgs["retinanet"])
    cfg = copy.deepcopy(plain)
    cfg["backbone"]["conv_cfg"] = dict(type="ConvAWS")
    assert_loads_as_mmengine_does(cfg, build(plain).state_dict(), tmp_path / "float.pth")


def test_wrong_shape_names_tensor_and_both_shapes(make_detector, make_wrapped, tmp_path):
    state = make_state(make_detector)
    state["bbox_head.retina_reg.bias"] = torch.zeros(5)
    with pytest.raises(CheckpointError, match=r"bbox_head.retina_reg.bias has shape \(5,\) there"):
        load(make_wrapped, state, tmp_path / "float.pth")


def test_missing_tensor_is_named_and_nothing_is_loaded(make_detector, make_wrapped, tmp_path):
    state = make_state(make_detector)
    del state["neck.fpn_convs.0.conv.bias"]
    model = make_wrapped("retinanet", trained=False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / "float.pth")
    with pytest.raises(CheckpointError, match=r"lacks 1 of \d+ tensors, .*fpn_convs.0.conv.bias"):
        load_float_checkpoint(model, str(tmp_path / "float.pth"))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_constant_buffer_may_be_missing_and_a_statistic_may_not(
    make_detector, make_wrapped, tmp_path
):
    """Models gain buffers from version to version, which they build themselves."""
    model = make_wrapped("retinanet", trained=False)
    mask = torch.full((2, 2), float("-inf"))
    model.model.backbone.register_buffer("mask", mask.clone())
    state = make_state(make_detector)
    torch.save(state, tmp_path / "float.pth")
    load_float_checkpoint(model, str(tmp_path / "float.pth"))
    assert torch.equal(model.model.backbone.mask, mask)
    del state["backbone.bn1.running_var"]
    torch.save(state, tmp_path / "float.pth")
    with pytest.raises(CheckpointError, match=r"lacks 1 of \d+ tensors, .*bn1.running_var"):
        load_float_checkpoint(model, str(tmp_path / "float.pth"))


def test_a_quantized_checkpoint_is_known_as_one(make_quantized, make_detector, tmp_path):
    torch.save({"state_dict": make_quantized("retinanet").state_dict()}, tmp_path / "a.pth")
    torch.save({"state_dict": make_state(make_detector)}, tmp_path / "b.pth")
    assert is_quantized(str(tmp_path / "a.pth")) and not is_quantized(str(tmp_path / "b.pth"))
    with pytest.raises(CheckpointError, match="none.pth"):
        is_quantized(str(tmp_path / "none.pth"))


def test_quantized_checkpoint_is_refused(make_quantized, make_wrapped, tmp_path):
    state = make_quantized("retinanet").state_dict()
    with pytest.raises(CheckpointError, match="is a quantized checkpoint"):
        load(make_wrapped, {"state_dict": state}, tmp_path / "q.pth")
