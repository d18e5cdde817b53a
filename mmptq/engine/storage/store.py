"""Results of finished stages, kept so that a killed run can go on."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, broadcast_object_list, is_main_process

from mmptq.engine.storage.tensor_cache import SPILL_PREFIX
from mmptq.errors import ConfigError, MmptqError
from mmptq.fileio import save_text, save_torch


class StageStore:
    """Files ``<folder>/<stage>.pth``, each written whole or not at all.

    Args:
        folder: Where they go.
        fingerprint: What the results depend on, nested dicts and lists of plain values; kept in
            ``<folder>/fingerprint.json``.
        resume: Go on from what is there; otherwise it is removed.

    Raises:
        ConfigError: ``resume`` with another fingerprint than the stored one.
        MmptqError: The folder cannot be written.
    """

    def __init__(self, folder: str | Path, fingerprint: Mapping[str, Any], resume: bool) -> None:
        self.folder = Path(folder)
        path = self.folder / "fingerprint.json"
        text = json.dumps(dict(fingerprint), indent=1, sort_keys=True)
        if resume and path.exists():
            _check_same(json.loads(path.read_text()), json.loads(text), self.folder)
        elif is_main_process():
            self._clear()
            save_text(path, text)
        barrier()

    def has(self, stage: str) -> bool:
        """Whether ``stage`` is finished; all processes must ask.

        The main process decides: were the others to look for themselves, a slow one could find the
        file that the main process has just written, and leave it waiting in the next exchange.
        """
        answer = [(self.folder / f"{stage}.pth").exists()]
        broadcast_object_list(answer)
        return answer[0]

    def load(self, stage: str) -> Any:
        """What ``stage`` saved (tensors on the CPU).

        Raises:
            MmptqError: The file is damaged.
        """
        path = self.folder / f"{stage}.pth"
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise MmptqError(
                f"{path} is damaged ({type(error).__name__}); remove it, then --resume"
            ) from error

    def save(self, stage: str, content: Any) -> None:
        """Save tensors and plain values of ``stage``, from the main process.

        Raises:
            MmptqError: The disk is full or the folder cannot be written.
        """
        if is_main_process():
            save_torch(self.folder / f"{stage}.pth", content)
        barrier()

    def once(self, stage: str, compute: Callable[[], Any]) -> Any:
        """What ``stage`` saved, or else compute and save it."""
        if not self.has(stage):
            self.save(stage, compute())
        return self.load(stage)

    def drop(self, stage: str) -> None:
        """Remove what ``stage`` saved, if anything."""
        if is_main_process():
            (self.folder / f"{stage}.pth").unlink(missing_ok=True)

    def _clear(self) -> None:
        """Remove all files, the logs of the steps too; the cache of this run is in a folder."""
        for path in self.folder.glob("*"):
            if path.is_file():
                path.unlink()


def remove_leftovers(folder: str | Path) -> None:
    """Remove what a killed run left half-written or spilled in ``folder``."""
    if is_main_process():
        for path in Path(folder).glob(".*.tmp"):
            path.unlink(missing_ok=True)
        for path in Path(folder).glob(f"{SPILL_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)
    barrier()


def _check_same(old: Any, new: Any, folder: Path, key: str = "") -> None:
    """Compare fingerprints; the message names the innermost key that differs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            inner = f"{key}.{name}" if key else name
            _check_same(old.get(name), new.get(name), folder, inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            _check_same(a, b, folder, f"{key}[{i}]")
    elif old != new:
        raise ConfigError(
            f"--resume: {folder} was made with {key} = {old!r}, now it is {new!r}; "
            "choose another --work-dir or start without --resume"
        )
