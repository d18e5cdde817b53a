"""Tensors of one unit, for every image and call of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmptq.engine.incremental.call_graph import map_tensors
from mmptq.engine.storage.tensor_store import TensorStore
from mmptq.engine.units.windows import Window
from mmptq.models.trace import flatten_tensors

FLOAT_IN, QUANT_IN, FLOAT_OUT, WEIGHT = "float_in", "quant_in", "float_out", "weight"

# Arguments of a call beside its input: positional ones, and keywords with their values.
Rest = tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]
NOTHING: Rest = ((), ())

_REST = "rest"

# Of the memory budget; the fronts have the other part.
_DATA_SHARE = 0.6


@dataclass(frozen=True)
class CacheSettings:
    """``cache``: where captured activations are kept.

    Args:
        max_gb: Memory budget in GiB; the rest spills to disk.
        dtype: Of a unit's captured inputs and outputs: ``'float32'`` or ``'float16'`` (half the
            space). The fronts stay exact.
        device: Where captured tensors are kept, ``None`` for the model's device.
    """

    max_gb: float = 4.0
    dtype: str = "float32"
    device: str | None = None


@dataclass(frozen=True)
class _Slot:
    """Stands for a tensor among the arguments of a call.

    Args:
        shape: Without the first dimension, along which images are joined.
    """

    shape: torch.Size


class UnitData:
    """Captured tensors of one unit, for every image and call of it.

    Where crops were chosen (:meth:`cut`), they are kept in place of whole maps: a *sample* is one
    crop of an image, and stands where an image stands otherwise. The first samples are the images'
    first crops, so without crops samples are images.

    Args:
        num_images: Of this process.
        num_calls: Of the unit in one pass. In some images there may be fewer: a head on detections
            does not run where there are none.
        cache: Where they are kept.
        folder: For what does not fit.
        device: Where batches go.
    """

    def __init__(
        self,
        num_images: int,
        num_calls: int,
        cache: CacheSettings,
        folder: str | Path,
        device: torch.device,
    ) -> None:
        self.num_images, self.num_calls = num_images, num_calls
        self._dtype = getattr(torch, cache.dtype)
        self._home = device if cache.device is None else torch.device(cache.device)
        self._device = device
        self._shapes: dict[tuple[str, int, int], torch.Size] = {}
        self._rest: dict[tuple[int, int], Rest] = {}
        self._windows: dict[tuple[int, int], list[Window]] = {}
        self.store = TensorStore(cache.max_gb * _DATA_SHARE, folder)

    def cut(self, image: int, call: int, windows: list[Window]) -> None:
        """Keep these crops of a call's maps; none for the whole maps."""
        if windows:
            self._windows[image, call] = windows

    @property
    def has_crops(self) -> bool:
        """Whether any map is cut."""
        return bool(self._windows)

    def put(self, kind: str, image: int, call: int, tensor: Tensor) -> None:
        """Keep a copy of ``tensor``, or of its crops."""
        self.put_parts(kind, image, call, self.parts(kind, image, call, tensor))

    def parts(self, kind: str, image: int, call: int, tensor: Tensor) -> list[Tensor]:
        """What is kept of a whole tensor: itself, or its crops."""
        windows = self._windows.get((image, call))
        if windows is None:
            return [tensor]
        read = kind in (FLOAT_IN, QUANT_IN)
        return [tensor[(..., *(w.read if read else w.written))] for w in windows]

    def put_parts(self, kind: str, image: int, call: int, parts: list[Tensor]) -> None:
        """Keep copies of what :meth:`parts` gave."""
        for number, part in enumerate(parts):
            # Numbers of rows of a table stay whole.
            dtype = self._dtype if part.is_floating_point() else part.dtype
            copy = part.detach().to(self._home, dtype, copy=True, memory_format=self._layout(part))
            sample = image + number * self.num_images
            self._shapes[kind, sample, call] = copy.shape
            self.store.put((kind, sample, call), [copy])

    def _layout(self, part: Tensor) -> torch.memory_format:
        """Of maps on a CPU channels last: many convolutions are faster so."""
        maps = part.dim() == 4 and self._device.type == "cpu"
        return torch.channels_last if maps else torch.preserve_format

    def samples(self, image: int) -> list[int]:
        """Those of an image."""
        own = (self._windows.get((image, call), ()) for call in range(self.num_calls))
        count = max([len(windows) for windows in own] + [1])
        return [image + number * self.num_images for number in range(count)]

    def own_sample(self, sample: int, call: int) -> int:
        """The sample that stands for ``sample`` in a call of which fewer crops are kept."""
        number, image = divmod(sample, self.num_images)
        return image + number % len(self._windows.get((image, call), (1,))) * self.num_images

    def compared(self, samples: list[int], call: int, shape: torch.Size) -> Tensor | None:
        """``(N, 1, H, W)``: 1 where outputs of crops are compared, else 0; ``None``: everywhere.

        On the CPU.

        Args:
            samples: As of :meth:`own_sample`.
            call: Of the unit.
            shape: Of the outputs, ``(N, C, H, W)``.
        """
        places = [divmod(sample, self.num_images) for sample in samples]
        found = [(self._windows.get((image, call)), number) for number, image in places]
        if all(windows is None for windows, _ in found):
            return None
        whole = torch.ones((1, 1, *shape[2:]))
        masks = [whole if windows is None else windows[n].mask() for windows, n in found]
        return torch.cat(masks)

    def get(self, kind: str, sample: int, call: int) -> Tensor:
        """As float32 (numbers of rows as they are) on the model's device; not to be written to."""
        kept = self.store.get((kind, sample, call))[0]
        return kept.to(self._device, torch.float32 if kept.is_floating_point() else kept.dtype)

    def shape(self, kind: str, sample: int, call: int) -> torch.Size | None:
        """Shape of a captured tensor, known without loading it; ``None`` where there is none."""
        return self._shapes.get((kind, sample, call))

    def calls(self, kind: str) -> Iterator[tuple[int, int]]:
        """Sample and call of everything captured of this kind."""
        return ((sample, call) for k, sample, call in self._shapes if k == kind)

    def put_rest(self, image: int, call: int, rest: Rest) -> None:
        """Keep the arguments of a call beside its input, if it has any; tensors as copies."""
        if rest == NOTHING:
            return
        tensors = [t.detach().to(self._home, copy=True) for t in flatten_tensors(rest)]
        self.store.put((_REST, image, call), tensors)
        self._rest[image, call] = map_tensors(rest, lambda tensor: _Slot(tensor.shape[1:]))

    def rest_form(self, image: int, call: int) -> Rest:
        """What :meth:`put_rest` was given, with the shapes of tensors in their place."""
        return self._rest.get((image, call), NOTHING)

    def rest(self, images: list[int], call: int) -> Rest:
        """What :meth:`put_rest` was given for ``images``, whose forms are equal; tensors joined."""
        form = self.rest_form(images[0], call)
        if form == NOTHING:
            return form
        kept = [self.store.get((_REST, image, call)) for image in images]
        tensors = (torch.cat(parts).to(self._device) for parts in zip(*kept, strict=True))
        return _filled(form, tensors)

    def has(self, kind: str) -> bool:
        """Whether anything of this kind was captured."""
        return any(True for _ in self.calls(kind))


def _filled(form: Any, tensors: Iterator[Tensor]) -> Any:
    if isinstance(form, _Slot):
        return next(tensors)
    return tuple(_filled(item, tensors) for item in form) if isinstance(form, tuple) else form
