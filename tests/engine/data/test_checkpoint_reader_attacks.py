"""Files that want to be run: nothing in them is, and their tensors load or the file is refused."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmptq.engine.data.checkpoint_reader import read_checkpoint
from mmptq.errors import CheckpointError
from tests.checkpoint_support import call, name, save_with_opcodes, text

STATE = {"weight": torch.arange(3.0)}

NEW = b")\x81"  # an object of the class on the stack, without arguments
BUILD = b"}b"


def code(folder: str) -> bytes:
    return text(f"__import__('os').mkdir({folder!r})")


def getattr_chain(folder: str) -> bytes:
    path = call(name("pathlib", "Path"), text(folder))
    return call(call(name("builtins", "getattr"), path, text("mkdir")))


def evil_file(folder: str) -> Path:
    path = Path(folder + ".pth")
    save_with_opcodes(STATE, call(name("builtins", "eval"), code(folder)), path)
    return path


def as_bytes(data: bytes) -> bytes:
    return call(name("_codecs", "encode"), text(data.decode("latin1")), text("latin1"))


# Opcodes that run code if they are read as pickle reads them, of a file whose tensors still load ...
LOADS: dict[str, Callable[[str], bytes]] = {
    "eval": lambda f: call(name("builtins", "eval"), code(f)),
    "exec": lambda f: call(name("builtins", "exec"), code(f)),
    "Python 2's eval": lambda f: call(name("__builtin__", "eval"), code(f)),
    "getattr": getattr_chain,
    "import": lambda f: call(
        call(
            name("builtins", "getattr"),
            call(name("builtins", "__import__"), text("os")),
            text("mkdir"),
        ),
        text(f),
    ),
    "partial": lambda f: call(
        call(name("functools", "partial"), name("builtins", "eval"), code(f))
    ),
    "attrgetter": lambda f: call(
        call(name("operator", "methodcaller"), text("mkdir")),
        call(name("pathlib", "Path"), text(f)),
    ),
    "subprocess": lambda f: call(name("subprocess", "getoutput"), text(f"mkdir {f}")),
    "torch.load": lambda f: call(name("torch", "load"), text(str(evil_file(f)))),
    "torch.storage": lambda f: call(
        name("torch.storage", "_load_from_bytes"), as_bytes(evil_file(f).read_bytes())
    ),
    "pickle.loads": lambda f: call(
        name("pickle", "loads"), as_bytes(call(name("builtins", "eval"), code(f)) + b".")
    ),
    "class": lambda f: call(name("evil", "Evil")),
    "new": lambda f: name("evil", "Evil") + NEW,
    "setstate": lambda f: name("evil", "State") + NEW + BUILD,
    "setattr by slots": lambda f: name("evil", "State") + NEW + b"N}" + text("a") + b"Ns\x86b",
    "dict that runs": lambda f: name("evil", "Mapping") + NEW + text("a") + b"Ns",
    "list that runs": lambda f: name("evil", "Sequence") + NEW + b"(Ne",
    "default factory": lambda f: (
        call(name("collections", "defaultdict"), name("evil", "run")) + text("a") + b"Ns"
    ),
    "hash": lambda f: b"}" + name("evil", "Hash") + NEW + b"Ns",
    "copyreg": lambda f: call(name("copyreg", "__newobj__"), name("evil", "Evil")),
    "names of our own": lambda f: b"(" + name("evil", "Evil") + call(name("inert", "0")) + b"t",
    "our reader": lambda f: call(name("mmptq.engine.data.checkpoint_reader", "Inert"), text("a")),
}
# ... and of one that is refused.
REFUSED: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda f: call(name("os", "system"), text(f"mkdir {f}")),
    "posix.mkdir": lambda f: call(name("posix", "mkdir"), text(f)),
    "sys": lambda f: name("sys", "modules"),
    "stack global": lambda f: call(text("builtins") + text("eval") + b"\x93", code(f)),
    "new with keywords": lambda f: name("evil", "Evil") + b")}\x92",
    "inst": lambda f: b"(" + code(f) + b"ibuiltins\neval\n",
    "obj": lambda f: b"(" + name("builtins", "eval") + code(f) + b"o",
    "extension": lambda f: b"\x82\x01",
    "persistent id": lambda f: text("evil") + b"Q",
    "persistent tuple": lambda f: b"(" + text("evil") + name("evil", "Evil") + b"tQ",
    "persistent text": lambda f: b"Pevil\n",
    "build on a dict": lambda f: b"}" + BUILD,
    "build on a function": lambda f: name("_codecs", "encode") + BUILD,
    "rebuild by a stranger's class": lambda f: call(
        name("torch._tensor", "_rebuild_from_type_v2"),
        name("evil", "run"),
        name("evil", "Evil"),
        b")",
        b"}",
    ),
    "storage of a stranger's class": lambda f: (
        b"(" + text("storage") + name("evil", "Evil") + text("0") + text("cpu") + b"K\x01tQ"
    ),
    "name with a null": lambda f: call(name("evil", "E\0vil")) + BUILD + BUILD + b"\xff",
    "name of a builtin's attribute": lambda f: call(name("builtins", "str.join")),
}


@pytest.fixture(autouse=True)
def evil(tmp_path, monkeypatch) -> Path:
    """A module that makes a folder at every opportunity; the folder."""
    folder = tmp_path / "owned"

    def run(*_: Any, **__: Any) -> Any:
        folder.mkdir(exist_ok=True)
        return folder

    hooks = {"__new__": run, "__init__": run}
    module = types.ModuleType("evil")
    module.__dict__.update(
        run=run,
        Evil=type("Evil", (), hooks),
        State=type("State", (), {"__setstate__": run, "__setattr__": run}),
        Mapping=type("Mapping", (dict,), {"__setitem__": run}),
        Sequence=type("Sequence", (list,), {"extend": run, "append": run}),
        Hash=type("Hash", (), {"__hash__": lambda _: run() and 1}),
    )
    monkeypatch.setitem(sys.modules, "evil", module)
    return folder


def read(opcodes: bytes, path: Path, zipped: bool) -> Any:
    save_with_opcodes(STATE, opcodes, path, zipped)
    return read_checkpoint(str(path))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("attack", LOADS)
def test_tensors_load_and_nothing_runs(attack, zipped, evil, tmp_path):
    content = read(LOADS[attack](str(evil)), tmp_path / "a.pth", zipped)
    assert torch.equal(content["state_dict"]["weight"], STATE["weight"])
    assert not evil.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("attack", REFUSED)
def test_refused_in_one_line_and_nothing_runs(attack, zipped, evil, tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*a.pth") as error:
        read(REFUSED[attack](str(evil)), tmp_path / "a.pth", zipped)
    assert "\n" not in str(error.value)
    assert not evil.exists()


@pytest.mark.parametrize(
    "attack", ["eval", "getattr", "torch.storage", "class", "inst", "setstate"]
)
def test_the_attacks_are_real(attack, evil, tmp_path):
    """Read by plain pickle, the same opcodes run."""
    import pickle

    opcodes = {**LOADS, **REFUSED}[attack](str(evil))
    pickle.loads(b"\x80\x02" + opcodes + b".")
    assert evil.exists()


def test_a_file_from_a_url_is_no_exception(evil, tmp_path, monkeypatch):
    """torch's own loader of URLs unpickles without protection."""
    from torch import hub

    save_with_opcodes(STATE, LOADS["eval"](str(evil)), tmp_path / "a.pth")
    monkeypatch.setattr(
        hub, "download_url_to_file", lambda url, to, *_, **__: (tmp_path / "a.pth").rename(to)
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    content = read_checkpoint("http://localhost/a.pth")
    assert torch.equal(content["state_dict"]["weight"], STATE["weight"])
    assert not evil.exists()
