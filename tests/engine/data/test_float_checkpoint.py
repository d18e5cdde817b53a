import os
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmptq.engine import load_float_checkpoint
from mmptq.engine.data.checkpoint_reader import read_checkpoint as read_float_checkpoint
from mmptq.errors import CheckpointError


def make_state(make_detector: Any, name: str = "retinanet") -> dict[str, Tensor]:
    return make_detector(name).state_dict()


def load(make_wrapped: Any, content: Any, path: Any) -> dict[str, Tensor]:
    """What a fresh wrapper holds after loading ``content``, by the detector's own names."""
    torch.save(content, path)
    model = make_wrapped("retinanet", trained=False)
    load_float_checkpoint(model, str(path))
    return model.model.state_dict()


@pytest.mark.parametrize(
    "form",
    ["bare", "mmengine", "data parallel", "wrapper", "without counters", "with more", "half"],
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


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (Exploit.folder,)

    folder = ""


@pytest.mark.parametrize("place", ["top", "history"])
def test_pickled_code_is_refused_and_not_run(place, make_detector, tmp_path):
    Exploit.folder = str(tmp_path / "owned")
    content: Any = {"state_dict": make_state(make_detector), "message_hub": history()}
    if place == "top":
        content["optimizer"] = Exploit()
    else:
        content["message_hub"]["log_scalars"]["train/loss"]._log_history = Exploit()
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="evil.pth .*posix.mkdir"):
        read_float_checkpoint(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "owned").exists()


class Getattr:
    """``getattr(<a type that is allowed>, name)`` in a pickle: a way to any attribute."""

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (np.ndarray, "tofile")


def test_attributes_of_other_types_are_refused(make_detector, tmp_path):
    torch.save({"state_dict": make_state(make_detector), "x": Getattr()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="refused to read attribute 'tofile'"):
        read_float_checkpoint(str(tmp_path / "evil.pth"))


def test_the_allowance_ends_with_the_call(make_detector, tmp_path):
    content = {"state_dict": make_state(make_detector), "message_hub": history()}
    torch.save(content, tmp_path / "float.pth")
    read_float_checkpoint(str(tmp_path / "float.pth"))
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "float.pth", weights_only=True)


@pytest.mark.parametrize("content", [{}, [1, 2], {"state_dict": {"a": 1}}, torch.zeros(3)])
def test_other_content(content, tmp_path):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="odd.pth holds no state dict"):
        read_float_checkpoint(str(tmp_path / "odd.pth"))


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_unreadable_file(content, make_detector, tmp_path):
    path = tmp_path / "float.pth"
    torch.save(make_state(make_detector), path)
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(CheckpointError, match="cannot read the checkpoint .*float.pth") as e:
        read_float_checkpoint(str(path))
    assert "\n" not in str(e.value)
    assert "weights_only" not in str(e.value)


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"--checkpoint or load_from.*none.pth"):
        read_float_checkpoint(str(tmp_path / "none.pth"))


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


def test_quantized_checkpoint_is_refused(make_quantized, make_wrapped, tmp_path):
    state = make_quantized("retinanet").state_dict()
    with pytest.raises(CheckpointError, match="is a quantized checkpoint"):
        load(make_wrapped, {"state_dict": state}, tmp_path / "q.pth")
