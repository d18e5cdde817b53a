"""A walk through a network: two fronts, and rounds over the calibration images between them.

Two fronts move through the network together, one of the float model, one of the model whose layers
so far are finished. A front is the set of activations, for every calibration image, that the layers
ahead still need. A round starts from there, so nothing before it is computed again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmptq.engine.context import CalibrationContext
from mmptq.engine.incremental.call_graph import CallGraph, map_tensors
from mmptq.engine.incremental.probing import float_form
from mmptq.engine.units.front import Front
from mmptq.engine.units.unit_data import Rest

OnCall = Callable[[int, int, Tensor, Tensor, Rest], None]


@dataclass
class _Image:
    """One batch of calibration images between rounds."""

    position: int
    index: int  # of its first image among those of this process
    inputs: Tensor  # placeholder of the shape once no layer ahead reads the image
    frozen: Any


class NetworkWalk:
    """Shows what modules read and write in the float model, and in the model as it is now.

    Args:
        context: Model, images and where to spill.
        graph: Of the prepared model.
        front_gb: Memory budget of each of the two fronts, in GiB; the rest spills to disk.
        with_labels: Whether a two-stage model's regions are sampled as in training.
    """

    def __init__(
        self,
        context: CalibrationContext,
        graph: CallGraph,
        front_gb: float,
        with_labels: bool = False,
    ) -> None:
        self._with_labels = with_labels
        self._model, self._adapter, self._data = context.model, context.adapter, context.data
        self._graph = graph
        assert context.model.plan is not None
        reading = {"first", "embedding"}
        self._first = [p.name for p in context.model.plan.layers if reading.intersection(p.roles)]
        self._float, self._quant = (
            Front(self._adapter.model, graph, front_gb, context.store.folder, len(self._data))
            for _ in range(2)
        )
        self._quant.share_forms(self._float)
        self._layers = [layer for _, layer in context.model.quant_layers()]
        # What the adapter holds fixed for each image, by its position.
        self.frozen: dict[int, Any] = {}
        self._shapes: dict[int, tuple[torch.Size, torch.dtype]] = {}
        self._device = next(context.model.parameters()).device

    @property
    def bytes_in_memory(self) -> int:
        """Size of both fronts."""
        return self._float.bytes_in_memory + self._quant.bytes_in_memory

    @torch.no_grad()
    def see_float(self, watched: Mapping[str, OnCall], ahead: Iterable[str]) -> None:
        """One pass of each image through the float model.

        Args:
            watched: Module name -> called with the image, the number of the call in this pass, the
                module's input and output, and the arguments beside the input.
            ahead: Layers that later rounds of the float model are about, and any behind them.
        """
        self._float.move(self._calls(watched), ahead, run_targets=True)
        with float_form(self._model):
            self._round(self._float, watched)

    @torch.no_grad()
    def see_quantized(
        self, watched: Mapping[str, OnCall], ahead: Iterable[str], outputs: bool = True
    ) -> None:
        """One pass of each image through the model as it is now.

        Args:
            watched: As in :meth:`see_float`.
            ahead: Layers that may change from now on.
            outputs: Whether outputs are needed; without, what is handed out in their place may be
                zeros.
        """
        self._quant.move(self._calls(watched), ahead, run_targets=outputs)
        self._round(self._quant, watched)

    def _calls(self, names: Collection[str]) -> list[int]:
        return [call for name in names for call in self._graph.by_module[name]]

    def _round(self, front: Front, watched: Mapping[str, OnCall]) -> None:
        needs_image = front.reads_image(self._first) or not self._shapes
        for image in self._images(needs_image):
            with ExitStack() as stack:
                for name, on_call in watched.items():
                    module = self._adapter.model.get_submodule(name)
                    seen = _Calls(image.index, len(image.inputs), on_call)
                    before = module.register_forward_pre_hook(seen.before)
                    after = module.register_forward_hook(seen.after, with_kwargs=True)
                    stack.callback(before.remove)
                    stack.callback(after.remove)
                self._start_pass()
                stack.enter_context(front.passing(image.position))
                self._adapter.head_outputs(image.inputs, image.frozen)
        front.settle()

    def _start_pass(self) -> None:
        for layer in self._layers:
            layer.reset_calls()

    def _images(self, needed: bool) -> Iterable[_Image]:
        """All images, decoded where ``needed``."""
        if not needed:
            index = 0
            for position, (shape, dtype) in self._shapes.items():
                inputs = torch.zeros(shape, dtype=dtype, device=self._device)
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
                self._shapes[position] = inputs.shape, inputs.dtype
            yield _Image(position, index, inputs, self.frozen[position])
            index += len(inputs)


class _Calls:
    """Hooks that number a module's calls in one pass of ``count`` images from ``image`` on."""

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
