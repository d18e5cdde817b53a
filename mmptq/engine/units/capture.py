"""What each unit reads and writes, captured while walking once through the network.

Two fronts move through the network together, one of the float model, one of the model whose units
so far are finished. A front is the set of activations, for every calibration image, that the layers
ahead still need. A unit's pass starts from there, so nothing before it is computed again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.engine.context import CalibrationContext
from mmptq.engine.incremental.call_graph import CallGraph, map_tensors
from mmptq.engine.incremental.probing import float_form
from mmptq.engine.units.front import Front
from mmptq.engine.units.unit_data import (
    FLOAT_IN,
    FLOAT_OUT,
    QUANT_IN,
    CacheSettings,
    Rest,
    UnitData,
)
from mmptq.engine.units.units import Unit

OnCall = Callable[[int, int, Tensor, Tensor, Rest], None]

# Each front's share of the memory budget; the unit's own data have the rest.
_FRONT_SHARE = 0.2


@dataclass
class _Image:
    """One batch of calibration images between rounds."""

    position: int
    index: int  # of its first image among those of this process
    inputs: Tensor  # placeholder of the shape once no layer ahead reads the image
    frozen: Any


class UnitCapture:
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
        self._with_labels = with_labels
        self._model, self._adapter, self._data = context.model, context.adapter, context.data
        self._units, self._cache = units, cache
        self._folder = context.store.folder
        assert context.model.plan is not None
        self._first = [p.name for p in context.model.plan.layers if "first" in p.roles]
        budget = cache.max_gb * _FRONT_SHARE
        self._float, self._quant = (
            Front(self._adapter.model, graph, budget, self._folder, len(self._data))
            for _ in range(2)
        )
        self._quant.share_forms(self._float)
        self._layers = [layer for _, layer in context.model.quant_layers()]
        # What the adapter holds fixed for each image, by its position.
        self.frozen: dict[int, Any] = {}
        self._shapes: dict[int, torch.Size] = {}
        self._device = next(context.model.parameters()).device

    @property
    def bytes_in_memory(self) -> int:
        """Size of both fronts."""
        return self._float.bytes_in_memory + self._quant.bytes_in_memory

    @torch.no_grad()
    def float_data(self, index: int) -> UnitData:
        """A unit's float input and output; no unit from this one on may have been changed.

        The first call may be for any unit; later calls in order.
        """
        unit = self._units[index]
        data = UnitData(
            self._data.num_images, len(unit.calls), self._cache, self._folder, self._device
        )
        ahead = [name for later in self._units[index + 1 :] for name in later.layers]
        self._float.move(unit.calls, ahead, run_targets=True)

        def on_call(image: int, call: int, x: Tensor, y: Tensor, rest: Rest) -> None:
            data.put(FLOAT_IN, image, call, x)
            data.put_rest(image, call, rest)
            data.put(FLOAT_OUT, image, call, y.relu() if unit.relu else y)

        with float_form(self._model):
            self._round(self._float, unit, on_call)
        return data

    @torch.no_grad()
    def add_quantized(self, index: int, data: UnitData) -> None:
        """A unit's input in the network as it is now, all units before this one finished."""
        unit = self._units[index]
        ahead = [name for later in self._units[index:] for name in later.layers]
        self._quant.move(unit.calls, ahead, run_targets=False)

        def on_call(image: int, call: int, x: Tensor, y: Tensor, rest: Rest) -> None:
            data.put(QUANT_IN, image, call, x)
            data.put_rest(image, call, rest)

        self._round(self._quant, unit, on_call)

    def _round(self, front: Front, unit: Unit, on_call: OnCall) -> None:
        """One pass of every image, with ``on_call(image, call, input, output, rest)``."""
        module = self._adapter.model.get_submodule(unit.name)
        needs_image = front.reads_image(self._first) or not self._shapes
        for image in self._images(needs_image):
            seen = _Calls(image.index, len(image.inputs), on_call)
            handles = [
                module.register_forward_pre_hook(seen.before),
                module.register_forward_hook(seen.after, with_kwargs=True),
            ]
            self._start_pass()
            try:
                with front.passing(image.position):
                    self._adapter.head_outputs(image.inputs, image.frozen)
            finally:
                for handle in handles:
                    handle.remove()
        front.settle()

    def _start_pass(self) -> None:
        for layer in self._layers:
            layer.reset_calls()

    def _images(self, needed: bool) -> Iterable[_Image]:
        """All images, decoded where ``needed``."""
        if not needed:
            index = 0
            for position, shape in self._shapes.items():
                inputs = torch.zeros(shape, device=self._device)
                yield _Image(position, index, inputs, self.frozen[position])
                index += len(inputs)
            return
        index = 0
        for position, batch in self._data:
            batch = self._adapter.preprocess(batch, self._with_labels)
            inputs, samples = batch["inputs"], batch["data_samples"]
            if position not in self.frozen:
                self._start_pass()
                self.frozen[position] = self._adapter.freeze(inputs, samples, self._with_labels)
                self._shapes[position] = inputs.shape
            yield _Image(position, index, inputs, self.frozen[position])
            index += len(inputs)


class _Calls:
    """Hooks that number a unit's calls in one pass of ``count`` images from ``image`` on."""

    def __init__(self, image: int, count: int, on_call: OnCall) -> None:
        self._image, self._count, self._on_call = image, count, on_call
        self._call = 0
        self._input: Tensor | None = None

    def before(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        # A copy: somebody may write to the tensor later.
        self._input = args[0].clone()

    def after(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        assert self._input is not None
        rest = (args[1:], tuple(sorted(kwargs.items())))
        for i in range(self._count):
            x, y, own = map_tensors((self._input, output, rest), self._part(i))
            self._on_call(self._image + i, self._call, x, y, own)
        self._call += 1

    def _part(self, index: int) -> Callable[[Tensor], Tensor]:
        # Not chunk, which may give fewer parts: a layer inside of attention that takes the tokens
        # first has as many rows as tokens. Any split of rows will do for it.
        return lambda tensor: tensor.tensor_split(self._count)[index]
