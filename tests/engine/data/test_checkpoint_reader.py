"""What stands beside the tensors is no hindrance (that it does not run: test_checkpoint_reader_attacks.py)."""

import argparse
import collections
import datetime
import enum
import functools
import io
import pathlib
import sys
import threading
import types
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmptq.engine.data.checkpoint_reader import Inert, read_checkpoint, read_meta
from mmptq.errors import CheckpointError
from tests.checkpoint_support import edit

WEIGHT = torch.arange(24.0).reshape(4, 6)
STATE = {
    "plain": WEIGHT,
    "transposed": WEIGHT.t(),
    "shares storage": WEIGHT[1:3],
    "scalar": torch.tensor(3.0),
    "empty": torch.zeros(0, 3),
    "half": WEIGHT.half(),
    "bfloat16": WEIGHT.bfloat16(),
    "double": WEIGHT.double(),
    "parameter": nn.Parameter(WEIGHT),
    "int": torch.tensor([1, 2]),
    "bool": torch.tensor([True, False]),
}


def assert_state(content: Any) -> None:
    state = content["state_dict"]
    assert state.keys() == STATE.keys()
    for key, wanted in STATE.items():
        assert isinstance(state[key], Tensor)
        assert state[key].dtype == wanted.dtype
        assert torch.equal(state[key], wanted), key


# --- what other tools keep beside the weights ----------------------------------------------------


class Colour(enum.Enum):
    RED = 1


class Outer:
    class Inner:
        def __init__(self) -> None:
            self.value = 3


class AttributeDict(dict):
    def __init__(self, **entries: Any) -> None:
        super().__init__(entries)
        self.__dict__["frozen"] = True


class Slotted:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 1


class WithKeywords:
    def __new__(cls, *, value: int) -> "WithKeywords":
        return object.__new__(cls)

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, int]]:
        return (), {"value": 1}


def lists() -> dict[str, list[int]]:
    made: dict[str, list[int]] = collections.defaultdict(list)
    made["a"].append(1)
    return made


BESIDE: dict[str, Any] = {
    "history": {"loss": HistoryBuffer([1.0, 0.5], [1, 1])},
    **{
        f"numpy {dtype}": np.zeros(3, dtype)
        for dtype in ("f2", "f4", "f8", "i1", "u2", "i8", "?", "c8", "S3", "U3", "M8[s]", "O")
    },
    "numpy records": np.zeros(3, [("a", "i4"), ("b", "f4", 2)]),
    "numpy scalars": [np.float32(1), np.int64(2), np.bool_(True), np.str_("a")],
    "numpy dtype": np.dtype("f4"),
    "numpy generator": np.random.default_rng(0),
    "config": ConfigDict(model=dict(type="RetinaNet")),
    "time": [datetime.datetime(2024, 1, 1), datetime.timedelta(1)],
    "arguments": argparse.Namespace(lr=0.1),
    "path": pathlib.Path("a"),
    "ordered": collections.OrderedDict(a=1),
    "default": lists(),
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2], maxlen=5),
    "sets": [{1, 2}, frozenset([1])],
    "keys": {np.int64(1): 1, frozenset([1]): 2, None: 3},
    "bytes": [b"abc", bytearray(b"abc")],
    "numbers": [10**300, 1j, slice(1, 2), range(3), ...],
    "enum": Colour.RED,
    "partial": functools.partial(max, 1),
    "nested class": [Outer.Inner, Outer.Inner()],
    "dict with attributes": AttributeDict(a=1),
    "slots": Slotted(),
    "keywords": WithKeywords(value=1),
    "names": [Outer, len, int, torch.optim.SGD],
    "error": ValueError("x"),
    "torch": [torch.device("cuda:0"), torch.float16, torch.Size([1])],
    "quantized": torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8),
    "sparse": WEIGHT.to_sparse(),
    "optimizer": torch.optim.SGD([WEIGHT.clone()], lr=0.1),
}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest's importlib mode loads this file under a name that pickle does not find."""
    monkeypatch.setitem(sys.modules, __name__, types.SimpleNamespace(**globals()))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("beside", BESIDE)
def test_whatever_is_beside_the_weights(beside, zipped, tmp_path):
    content = {"before": BESIDE[beside], "state_dict": STATE, "after": BESIDE[beside]}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert_state(read_checkpoint(str(tmp_path / "a.pth")))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_all_of_it_at_once(zipped, tmp_path):
    torch.save(
        {**BESIDE, "state_dict": STATE}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped
    )
    assert_state(read_checkpoint(str(tmp_path / "a.pth")))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("version", ["numpy.core", "numpy._core"])
def test_arrays_of_either_numpy(version, zipped, tmp_path):
    path = tmp_path / "a.pth"
    content = {"array": np.zeros(3), "scalar": np.float64(1), "state_dict": STATE}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    written = np.zeros(3).__reduce__()[0].__module__.encode()
    edit(path, b"c" + written + b"\n", f"c{version}.multiarray\n".encode())
    assert_state(read_checkpoint(str(path)))


def test_a_whole_module_beside_the_weights(tmp_path):
    """The old format has an identifier of its own for the source text of modules."""
    content = {"model": nn.Conv2d(3, 3, 1), "state_dict": STATE}
    torch.save(content, tmp_path / "a.pth")
    assert_state(read_checkpoint(str(tmp_path / "a.pth")))
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    refusal(tmp_path / "old.pth")


def test_unknown_is_inert_and_containers_keep_their_content(tmp_path):
    state = AttributeDict(**{key: WEIGHT for key in ("a", "b")})
    torch.save({"x": Outer.Inner(), "history": BESIDE["history"], "state": state}, tmp_path / "a")
    content = read_checkpoint(str(tmp_path / "a"))
    assert isinstance(content["x"], Inert)
    assert content["history"]["loss"].origin == "mmengine.logging.history_buffer.HistoryBuffer"
    assert torch.equal(content["state"]["a"], WEIGHT)


def test_the_protection_is_as_before(tmp_path):
    load, allowed = torch.load, torch.serialization.get_safe_globals()
    torch.save({"state_dict": STATE, **BESIDE}, tmp_path / "a.pth")
    read_checkpoint(str(tmp_path / "a.pth"))
    with pytest.raises(CheckpointError):
        read_checkpoint(str(tmp_path / "none.pth"))
    assert torch.load is load
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


def test_what_others_allow_does_not_run(tmp_path):
    """The maintained fork of MMEngine allows getattr while it loads a checkpoint."""
    nested = BESIDE["nested class"]
    torch.save({"state_dict": STATE, "nested": nested}, tmp_path / "a.pth")
    with torch.serialization.safe_globals([getattr, slice]):
        content = read_checkpoint(str(tmp_path / "a.pth"))
    assert all(isinstance(found, Inert) for found in content["nested"])


def test_the_data_is_read_once(tmp_path, monkeypatch):
    """What is unknown turns up one by one; a large file must not be read for each."""
    devices, load = [], torch.serialization.load

    def watched(*args: Any, **kwargs: Any) -> Any:
        devices.append(kwargs["map_location"])
        return load(*args, **kwargs)

    beside = {key: value for key, value in BESIDE.items() if key != "quantized"}
    torch.save({"state_dict": STATE, **beside}, tmp_path / "a.pth")
    monkeypatch.setattr(torch.serialization, "load", watched)
    read_checkpoint(str(tmp_path / "a.pth"))
    assert devices.count("cpu") == 1
    assert len(devices) > 10


def test_a_patched_torch_load_stays_out(tmp_path, monkeypatch):
    """A known way around torch's refusals is to switch its protection off for the whole process."""

    def unsafe(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(torch, "load", unsafe)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"state_dict": STATE, **BESIDE}, tmp_path / "a.pth")
    assert_state(read_checkpoint(str(tmp_path / "a.pth")))
    assert torch.load is unsafe


# --- where it comes from ---------------------------------------------------------------------------


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Address of a server of ``tmp_path``."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_url(address, tmp_path):
    """torch's own download would unpickle without protection."""
    torch.save({"state_dict": STATE, **BESIDE}, tmp_path / "a.pth")
    assert_state(read_checkpoint(f"{address}/a.pth"))
    (tmp_path / "a.pth").unlink()
    assert_state(read_checkpoint(f"{address}/a.pth"))  # from torch's cache


def test_unreachable_url(address):
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint http.*none.pth.*404"):
        read_checkpoint(f"{address}/none.pth")


@pytest.mark.parametrize("opened", [pathlib.Path, lambda path: io.BytesIO(path.read_bytes())])
def test_a_scheme_of_ones_own(opened, tmp_path, monkeypatch):
    """Storage backends hand over paths, or files in memory."""
    torch.save({"state_dict": STATE, **BESIDE}, tmp_path / "a.pth")
    monkeypatch.setattr(CheckpointLoader, "_schemes", dict(CheckpointLoader._schemes))

    @CheckpointLoader.register_scheme(prefixes="bucket://")
    def load_from_bucket(filename: str, map_location: str) -> Any:
        path = tmp_path / filename.removeprefix("bucket://")
        return torch.load(opened(path), map_location=map_location, weights_only=False)

    assert_state(read_checkpoint("bucket://a.pth"))


def test_unknown_name_in_a_model_zoo():
    with pytest.raises(CheckpointError, match=r"open-mmlab://none .*KeyError.*give a file or URL"):
        read_checkpoint("open-mmlab://none")


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    plain = {key: STATE[key] for key in ("plain", "scalar", "half", "bfloat16", "int", "bool")}
    safetensors.save_file(plain, tmp_path / "a.safetensors")
    content = read_checkpoint(str(tmp_path / "a.safetensors"))
    assert content.keys() == plain.keys()
    assert all(torch.equal(content[key], plain[key]) for key in plain)


def test_safetensors_without_the_package(tmp_path, monkeypatch):
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    data = len(header).to_bytes(8, "little") + header + bytes(4)
    (tmp_path / "a.safetensors").write_bytes(data)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(CheckpointError, match=r"pip install safetensors"):
        read_checkpoint(str(tmp_path / "a.safetensors"))


# --- what cannot be read -----------------------------------------------------------------------------


def refusal(path: pathlib.Path) -> str:
    with pytest.raises(CheckpointError, match=f"cannot read the checkpoint .*{path.name}") as error:
        read_checkpoint(str(path))
    message = str(error.value)
    assert "\n" not in message
    assert "weights_only=False" not in message
    assert "Re-running" not in message
    return message


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_unreadable_file(content, tmp_path):
    path = tmp_path / "a.pth"
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    refusal(path)


def test_torchscript(tmp_path):
    torch.jit.script(nn.Conv2d(3, 3, 1)).save(tmp_path / "a.pt")
    assert "TorchScript" in refusal(tmp_path / "a.pt")


def test_another_pickle_protocol(tmp_path):
    torch.save({"state_dict": STATE}, tmp_path / "a.pth", pickle_protocol=4)
    assert "torch.save(model.state_dict(), ...)" in refusal(tmp_path / "a.pth")


def test_what_a_file_says_beside_its_weights(tmp_path):
    meta = {"epoch": 3, "classes": ("a", "b"), "made_by": pathlib.Path("x"), 7: np.float32(0.5)}
    torch.save({"meta": meta, "state_dict": {}}, tmp_path / "a.pth")
    found = read_meta(str(tmp_path / "a.pth"))
    assert found["epoch"] == 3 and found["classes"] == ["a", "b"]
    assert all(type(value) in (int, str, list) for value in found.values())
    for content in ({"state_dict": {}}, {"meta": None}, [1]):
        torch.save(content, tmp_path / "b.pth")
        assert read_meta(str(tmp_path / "b.pth")) == {}
