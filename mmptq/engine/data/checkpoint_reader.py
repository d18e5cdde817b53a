"""Reading a checkpoint of any origin without running anything that stands in it.

torch's restricted unpickler stays on for every source. What it does not know (training logs, numpy
arrays, configs, whole objects) it would refuse; here it becomes inert, since only tensors are taken.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import torch
from mmengine.runner import CheckpointLoader

from mmptq.errors import CheckpointError
from mmptq.fileio import plain

_UNKNOWN = re.compile(r"GLOBAL (.+?) was not an allowed global")
_WRONG_CONTAINER = re.compile(r"Can only (\w+) .*but got <class 'inert\.(\d+)'>")


class Inert:
    """Stands for something unknown: neither calling nor building it does anything.

    These are all the ways in which torch's unpickler uses what a pickle names. The results of an
    unknown class or function are this object itself, or new empty containers where the file goes
    on to fill them: a subclass of dict may be the state dict.

    Args:
        origin: What the file calls it, ``package.module.Name``.
    """

    container: Callable[[], Any] | None = None

    def __new__(cls, *_: Any) -> Any:
        """What torch calls as ``Class.__new__(Class, ...)``, an inert object in the class's place."""
        return cls() if isinstance(cls, Inert) else super().__new__(cls)

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def __call__(self, *_: Any) -> Any:
        return self if self.container is None else self.container()

    def __setstate__(self, _: Any) -> None:
        """Nothing is taken over."""


class _StandIns:
    """An inert object for each name that a file needs; torch's complaints tell which it needs."""

    def __init__(self) -> None:
        self._made: list[Inert] = []

    def as_safe_globals(self) -> list[Any]:
        """For torch, which also wants to know the types. No name in a file is without a dot."""
        named = [(inert, inert.origin) for inert in self._made]
        types = [(type(inert), f"inert {i}") for i, inert in enumerate(self._made)]
        return [*named, *types]

    def settle(self, complaint: str) -> bool:
        """Change what ``complaint`` is about; whether there was something to change."""
        unknown = _UNKNOWN.search(complaint)
        if unknown:
            # torch names builtins without their module.
            name = unknown[1] if "." in unknown[1] else f"builtins.{unknown[1]}"
            return self._add(name)
        wrong = _WRONG_CONTAINER.search(complaint)
        if wrong:
            inert = self._made[int(wrong[2])]
            inert.container = OrderedDict if wrong[1].startswith("SETITEM") else list
        return wrong is not None

    def _add(self, origin: str) -> bool:
        if any(inert.origin == origin for inert in self._made):
            return False
        # A type of its own: by its name torch says which of them cannot be filled.
        kind = type(str(len(self._made)), (Inert,), {"__module__": "inert"})
        self._made.append(kind(origin))
        return True


def read_checkpoint(path: str) -> Any:
    """Content of a checkpoint file or URL, with :class:`Inert` objects for all that is unknown.

    MMEngine finds and downloads it, so all of its schemes are understood.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        with _unpickling_by(load_tensors):
            return CheckpointLoader.load_checkpoint(path, map_location="cpu")
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"cannot read the checkpoint {path} ({_reason(error)}); give a file or URL of weights "
            "saved by torch.save(model.state_dict(), ...)"
        ) from error


def read_meta(path: str) -> dict[str, Any]:
    """What a checkpoint says beside its weights, in plain types; empty if it says nothing.

    Raises:
        CheckpointError: It cannot be read.
    """
    content = read_checkpoint(path)
    meta = content.get("meta") if isinstance(content, Mapping) else None
    return plain(meta) if isinstance(meta, Mapping) else {}


@contextmanager
def _unpickling_by(load: Callable[..., Any]) -> Iterator[None]:
    """Let all of MMEngine's and torch's loaders of files and URLs end in ``load``.

    They find their file in different ways and then all call ``torch.load``, some with its
    protection switched off.
    """
    before, torch.load = torch.load, load
    try:
        yield
    finally:
        torch.load = before


def load_tensors(source: str | os.PathLike[str] | IO[bytes], *_: Any, **__: Any) -> Any:
    """``torch.load`` on the CPU that needs no list of allowed types and runs nothing unknown."""
    file = os.fspath(source) if isinstance(source, os.PathLike) else source
    if _is_safetensors(file):
        return _load_safetensors(file)
    stand_ins = _StandIns()
    # On the meta device the tensors' data is left out, so that trying again costs little; but not
    # every kind of tensor can be made there.
    for device in ("meta", "cpu"):
        content, complaint = _settle(file, stand_ins, device)
    if complaint is not None:
        raise complaint
    return content


def _settle(
    file: str | IO[bytes], stand_ins: _StandIns, device: str
) -> tuple[Any, Exception | None]:
    """The file's content, or the complaint that ``stand_ins`` cannot settle."""
    while True:
        try:
            return _load(file, stand_ins, device), None
        except Exception as error:
            if not stand_ins.settle(str(error)):
                return None, error


def _load(file: str | IO[bytes], stand_ins: _StandIns, device: str) -> Any:
    if not isinstance(file, str):
        file.seek(0)
    with _only_allowed(stand_ins.as_safe_globals()):
        # Not torch.load: that is what is replaced, here and by some users' own patches.
        return torch.serialization.load(file, map_location=device, weights_only=True)


@contextmanager
def _only_allowed(names: list[Any]) -> Iterator[None]:
    """Allow these and nothing else; others may have allowed more, even ``getattr``."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(names)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _is_safetensors(file: str | IO[bytes]) -> bool:
    """By content: the length of a header in 8 bytes, then the header, which is JSON."""
    return _first_bytes(file, 9)[8:] == b"{"


def _first_bytes(file: str | IO[bytes], count: int) -> bytes:
    if isinstance(file, str):
        with open(file, "rb") as opened:
            return opened.read(count)
    file.seek(0)
    return file.read(count)


def _load_safetensors(file: str | IO[bytes]) -> dict[str, torch.Tensor]:
    try:
        from safetensors import torch as safetensors
    except ImportError as error:
        raise CheckpointError(
            "the checkpoint is a .safetensors file, and the package that reads it is not "
            "installed: pip install safetensors"
        ) from error
    if isinstance(file, str):
        return safetensors.load_file(file)
    file.seek(0)
    return safetensors.load(file.read())


def _reason(error: Exception) -> str:
    """One sentence: torch goes on with a page that advises to switch its protection off."""
    _, mark, after = str(error).rpartition("WeightsUnpickler error:")
    lines = [line.strip() for line in (after if mark else str(error)).splitlines()]
    lines = [line for line in lines if line and not line.startswith("Weights only load failed")]
    reason = lines[0].partition(". ")[0] if lines else "no details"
    return f"{type(error).__name__}: {reason}"
