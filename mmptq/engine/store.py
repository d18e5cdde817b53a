"""Results of finished stages, kept so that a killed run can go on."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, is_main_process

from mmptq.errors import ConfigError
from mmptq.fileio import atomic_write, save_torch


class StageStore:
    """Files ``<folder>/<stage>.pth``, each written whole or not at all.

    Args:
        folder: Where they go.
        fingerprint: What the results depend on, a flat mapping to plain values; kept in
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
            with atomic_write(path) as file:
                file.write(text.encode())
        barrier()

    def has(self, stage: str) -> bool:
        """Whether ``stage`` is finished."""
        return (self.folder / f"{stage}.pth").exists()

    def load(self, stage: str) -> Any:
        """What ``stage`` saved (tensors on the CPU)."""
        return torch.load(self.folder / f"{stage}.pth", map_location="cpu", weights_only=True)

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
        for pattern in ("*.pth", "*.jsonl"):
            for path in self.folder.glob(pattern):
                path.unlink()


def _check_same(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> None:
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            raise ConfigError(
                f"--resume: {folder} was made with {key} = {old.get(key)!r}, now it is "
                f"{new.get(key)!r}; choose another --work-dir or start without --resume"
            )
