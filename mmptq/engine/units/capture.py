"""What each unit reads and writes, captured while walking once through the network."""

import hashlib

import torch
from mmengine.dist import get_rank
from torch import Tensor

from mmptq.engine.context import CalibrationContext
from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.engine.incremental.probing import float_form
from mmptq.engine.units.geometry import Geometry, find_geometry
from mmptq.engine.units.unit_data import (
    FLOAT_IN,
    FLOAT_OUT,
    NOTHING,
    QUANT_IN,
    CacheSettings,
    Rest,
    UnitData,
)
from mmptq.engine.units.units import Unit
from mmptq.engine.units.walk import NetworkWalk
from mmptq.engine.units.windows import Window, draw_windows

# Each front's share of the memory budget; the unit's own data have the rest.
_FRONT_SHARE = 0.2


class UnitCapture(NetworkWalk):
    """Hands out the data of each unit, in order.

    Args:
        context: Model, images and where to spill.
        units: In order of execution.
        graph: Of the prepared model.
        cache: Memory budget and form of what is kept.
        with_labels: Whether a two-stage model's regions are sampled as in training.
        crop: Outputs a side of the crops that are kept in place of whole maps, ``None`` for these.
        seed: Of the crops' places.

    Attributes:
        note: ``'crops'``, or why the last unit has whole maps; empty without ``crop``.
    """

    def __init__(
        self,
        context: CalibrationContext,
        units: list[Unit],
        graph: CallGraph,
        cache: CacheSettings,
        with_labels: bool = False,
        crop: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(context, graph, cache.max_gb * _FRONT_SHARE, with_labels)
        self._units, self._cache = units, cache
        self._folder = context.store.folder
        self._crop, self._seed = crop, seed
        self.note = ""

    def float_data(self, index: int) -> UnitData:
        """A unit's input and output in the float form, which finished units do not change.

        The first call may be for any unit; later calls in order.
        """
        unit = self._units[index]
        data = UnitData(
            self._data.num_images, len(unit.calls), self._cache, self._folder, self._device
        )
        geometry = None if self._crop is None else self._geometry(unit)

        def on_call(image: int, call: int, x: Tensor, y: Tensor, rest: Rest) -> None:
            if isinstance(geometry, tuple) and rest == NOTHING:
                data.cut(image, call, self._windows(unit, geometry, image, call, x, y))
            data.put(FLOAT_IN, image, call, x)
            data.put_rest(image, call, rest)
            data.put(FLOAT_OUT, image, call, y.relu() if unit.relu else y)

        self.see_float({unit.name: on_call}, self._layers_from(index + 1))
        if geometry is not None:
            whole = geometry if isinstance(geometry, str) else "no map is much larger than a crop"
            self.note = "crops" if data.has_crops else f"whole: {whole}"
        return data

    def add_quantized(self, index: int, data: UnitData) -> None:
        """A unit's input in the network as it is now, all units before this one finished."""

        def on_call(image: int, call: int, x: Tensor, y: Tensor, rest: Rest) -> None:
            data.put(QUANT_IN, image, call, x)
            data.put_rest(image, call, rest)

        watched = {self._units[index].name: on_call}
        self.see_quantized(watched, self._layers_from(index), outputs=False)

    def _geometry(self, unit: Unit) -> Geometry | str:
        if unit.channels is None:
            return "it does not make one map of one map"
        module = self._adapter.model.get_submodule(unit.name)

        def run(x: Tensor) -> Tensor:
            self._start_pass()
            return module(x)

        with float_form(self._model):
            return find_geometry(run, unit.channels, self._device)

    def _windows(
        self, unit: Unit, geometry: Geometry, image: int, call: int, x: Tensor, y: Tensor
    ) -> list[Window]:
        key = f"{self._seed}/{unit.name}/{image}/{call}/{get_rank()}"
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
        assert self._crop is not None
        generator = torch.Generator().manual_seed(seed)
        return draw_windows(geometry, x.shape, y.shape, self._crop, generator)

    def _layers_from(self, index: int) -> list[str]:
        return [name for unit in self._units[index:] for name in unit.layers]
