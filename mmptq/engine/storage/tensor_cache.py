"""A list of tensors that stays within a memory budget and spills to disk."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mmptq.errors import MmptqError

SPILL_PREFIX = "cache_"  # of the temporary folders


class TensorCache:
    """Keeps tensors in memory up to a budget and the rest in files.

    The first tensors stay in memory: calibration walks through all of them in the same order again
    and again, the pattern for which evicting the oldest would keep none.

    Args:
        max_gb: Memory budget in GiB.
        folder: Where files go; a temporary folder inside it is removed with the cache.
    """

    def __init__(self, max_gb: float, folder: str | Path) -> None:
        self._budget = int(max_gb * 2**30)
        self._root = Path(folder)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._entries: list[Tensor | Path] = []
        self.bytes_in_memory = 0
        self.bytes_on_disk = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, tensor: Tensor) -> None:
        """Add ``tensor`` (detached).

        Raises:
            MmptqError: The disk is full or the folder cannot be written.
        """
        tensor = tensor.detach()
        size = tensor.numel() * tensor.element_size()
        if tensor.untyped_storage().nbytes() > size:
            tensor = tensor.clone()  # a view would keep, and write to disk, all that it looks at
        if self.bytes_in_memory + size <= self._budget:
            self._entries.append(tensor)
            self.bytes_in_memory += size
        else:
            self._entries.append(self._spill(tensor.contiguous()))
            self.bytes_on_disk += size

    def __getitem__(self, index: int) -> Tensor:
        entry = self._entries[index]
        if isinstance(entry, Tensor):
            return entry
        return torch.load(entry, weights_only=True)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def _spill(self, tensor: Tensor) -> Path:
        try:
            if self._folder is None:
                self._root.mkdir(parents=True, exist_ok=True)
                self._folder = tempfile.TemporaryDirectory(dir=self._root, prefix=SPILL_PREFIX)
            path = Path(self._folder.name) / f"{len(self._entries)}.pt"
            torch.save(tensor, path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            raise MmptqError(
                f"cannot spill the calibration cache to {self._root} ({error}); free disk space, "
                "choose another work_dir, or raise calib_cfg.cache_gb"
            ) from error
        return path
