"""Groups of tensors under keys, within a memory budget; what does not fit spills to disk."""

import tempfile
from collections.abc import Hashable, Iterable
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from mmptq.engine.storage.tensor_cache import SPILL_PREFIX
from mmptq.errors import MmptqError

Tensors = list[Tensor]


class TensorStore:
    """A dict of lists of tensors.

    Unlike those of :class:`TensorCache`, entries can be replaced and dropped.

    Args:
        max_gb: Memory budget in GiB.
        folder: Where files go; a temporary folder inside it is removed with the store.
    """

    def __init__(self, max_gb: float, folder: str | Path) -> None:
        self.budget = int(max_gb * 2**30)
        self.bytes_in_memory = 0
        self.bytes_on_disk = 0
        self._root = Path(folder)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._memory: dict[Hashable, Tensors] = {}
        self._files: dict[Hashable, tuple[Path, int]] = {}
        self._numbers = count()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._memory or key in self._files

    def fits(self, tensors: Iterable[Tensor]) -> bool:
        """Whether the memory budget has room for ``tensors``."""
        return self.bytes_in_memory + num_bytes(tensors) <= self.budget

    def put(self, key: Hashable, tensors: Iterable[Tensor]) -> None:
        """Keep ``tensors`` (detached, not copied) under ``key``, in place of what was there.

        Raises:
            MmptqError: The disk is full or the folder cannot be written.
        """
        self.drop(key)
        detached = [tensor.detach() for tensor in tensors]
        size = num_bytes(detached)
        if self.fits(detached):
            self._memory[key] = detached
            self.bytes_in_memory += size
        else:
            self._files[key] = self._spill(detached), size
            self.bytes_on_disk += size

    def get(self, key: Hashable) -> Tensors:
        """What is kept under ``key``; not to be written to.

        Raises:
            KeyError: Nothing is.
        """
        if key in self._memory:
            return self._memory[key]
        return torch.load(self._files[key][0], weights_only=True)

    def drop(self, key: Hashable) -> None:
        """Forget ``key``, if it is there."""
        if key in self._memory:
            self.bytes_in_memory -= num_bytes(self._memory.pop(key))
        elif key in self._files:
            path, size = self._files.pop(key)
            path.unlink(missing_ok=True)
            self.bytes_on_disk -= size

    def _spill(self, tensors: Tensors) -> Path:
        try:
            if self._folder is None:
                self._root.mkdir(parents=True, exist_ok=True)
                self._folder = tempfile.TemporaryDirectory(dir=self._root, prefix=SPILL_PREFIX)
            path = Path(self._folder.name) / f"{next(self._numbers)}.pt"
            # A copy keeps the strides, which decide the kernels that read the tensor later, and
            # leaves behind what a view does not show of its storage.
            torch.save([tensor.clone() for tensor in tensors], path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            raise MmptqError(
                f"cannot spill tensors to {self._root} ({error}); free disk space, choose another "
                "work_dir, or raise cache_gb"
            ) from error
        return path


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """Size of the tensors' elements."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
