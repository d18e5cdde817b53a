"""What each unit reads and writes, captured while walking once through the network."""

from torch import Tensor

from mmptq.engine.context import CalibrationContext
from mmptq.engine.incremental.call_graph import CallGraph
from mmptq.engine.units.unit_data import (
    FLOAT_IN,
    FLOAT_OUT,
    QUANT_IN,
    CacheSettings,
    Rest,
    UnitData,
)
from mmptq.engine.units.units import Unit
from mmptq.engine.units.walk import NetworkWalk

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
    """

    def __init__(
        self,
        context: CalibrationContext,
        units: list[Unit],
        graph: CallGraph,
        cache: CacheSettings,
        with_labels: bool = False,
    ) -> None:
        super().__init__(context, graph, cache.max_gb * _FRONT_SHARE, with_labels)
        self._units, self._cache = units, cache
        self._folder = context.store.folder

    def float_data(self, index: int) -> UnitData:
        """A unit's float input and output; no unit from this one on may have been changed.

        The first call may be for any unit; later calls in order.
        """
        unit = self._units[index]
        data = UnitData(
            self._data.num_images, len(unit.calls), self._cache, self._folder, self._device
        )

        def on_call(image: int, call: int, x: Tensor, y: Tensor, rest: Rest) -> None:
            data.put(FLOAT_IN, image, call, x)
            data.put_rest(image, call, rest)
            data.put(FLOAT_OUT, image, call, y.relu() if unit.relu else y)

        self.see_float({unit.name: on_call}, self._layers_from(index + 1))
        return data

    def add_quantized(self, index: int, data: UnitData) -> None:
        """A unit's input in the network as it is now, all units before this one finished."""

        def on_call(image: int, call: int, x: Tensor, y: Tensor, rest: Rest) -> None:
            data.put(QUANT_IN, image, call, x)
            data.put_rest(image, call, rest)

        watched = {self._units[index].name: on_call}
        self.see_quantized(watched, self._layers_from(index), outputs=False)

    def _layers_from(self, index: int) -> list[str]:
        return [name for unit in self._units[index:] for name in unit.layers]
