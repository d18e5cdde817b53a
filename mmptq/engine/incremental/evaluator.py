"""The loss of the quantized model over the calibration set, many times."""

import logging
import math
import time
from collections.abc import Callable, Container, Mapping
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.logging import print_log
from torch import Tensor

from mmptq.adapters.passes import FrozenPass
from mmptq.engine.context import CalibrationContext
from mmptq.engine.incremental.incremental import IncrementalForward
from mmptq.engine.incremental.objectives import CalibrationImage, Objective
from mmptq.engine.incremental.probing import call_graph, float_form
from mmptq.engine.storage.tensor_store import TensorStore
from mmptq.models.trace import flatten_tensors
from mmptq.registry import OBJECTIVES, build

# How the memory budget is split; the objective gets the rest.
_INPUT_SHARE, _OUTPUT_SHARE = 0.2, 0.6


class LossEvaluator:
    """``evaluator()`` is the mean of an objective over all calibration images, as the model stands.

    Under a launcher every process computes its images and all get the same sum, which does not
    depend on the number of processes.

    Args:
        context: Model, images and where to spill.
        objective: Config of a class registered in ``OBJECTIVES``.
        incremental: Recompute only what lies behind the parameters that changed.
        cache_gb: Memory budget in GiB for inputs, kept outputs and what the objective keeps.
        check: Whenever other outputs are reused than ever before, compare one image with a full
            pass; where they differ, every pass is a full one from there on.
        positions: Which of the images to take, by their positions in the common selection; all by
            default.
    """

    def __init__(
        self,
        context: CalibrationContext,
        objective: Mapping[str, Any],
        incremental: bool = True,
        cache_gb: float = 2.0,
        check: bool = True,
        positions: Container[int] | None = None,
    ) -> None:
        self._model, self._adapter = context.model, context.adapter
        self.objective: Objective = build(OBJECTIVES, objective, "objective")
        self.evaluations = 0
        self.seconds = 0.0
        folder = context.store.folder
        # QuantModel.start_pass looks for the layers among all modules, every time.
        self._layers = [layer for _, layer in self._model.quant_layers()]
        self._inputs = TensorStore(cache_gb * _INPUT_SHARE, folder)
        self._images: list[CalibrationImage] = []
        rest = cache_gb * (1.0 - _INPUT_SHARE - _OUTPUT_SHARE)
        self.objective.prepare(self._adapter, rest, folder)
        self._see_float(context, positions)
        self.forward: IncrementalForward | None = None
        self._check = check
        self._checked: set[frozenset[int]] = {frozenset()}
        if incremental:
            budget = cache_gb * _OUTPUT_SHARE
            graph = call_graph(self._model, self._adapter, self.objective.reads_loss)
            self.forward = IncrementalForward(
                self._adapter.model, graph, budget, folder, len(self._images)
            )

    @torch.no_grad()
    def __call__(self) -> float:
        """The loss; NaN where an output is not finite."""
        start = time.perf_counter()
        to_check = self.forward is not None and self._start_round(self.forward)
        # Of each batch its mean and its size.
        values: dict[int, tuple[float, int]] = {}
        for index, image in enumerate(self._images):
            outputs = self._outputs(image)
            if index == 0 and to_check and self._differs(image, outputs):
                self._give_up_reuse()
                return self()
            values[image.position] = self.objective.value(image, outputs), len(image.samples)
        merged = {k: v for part in all_gather_object(values) for k, v in part.items()}
        self.evaluations += 1
        self.seconds += time.perf_counter() - start
        ordered = [merged[position] for position in sorted(merged)]
        if not all(math.isfinite(value) for value, _ in ordered):
            return math.nan
        return math.fsum(v * n for v, n in ordered) / sum(n for _, n in ordered)

    def _outputs(self, image: CalibrationImage) -> Any:
        if self.forward is None:
            return self._full_outputs(image)
        with self.forward.passing(image.position):
            return self._full_outputs(image)

    def _full_outputs(self, image: CalibrationImage) -> Any:
        for layer in self._layers:
            layer.reset_calls()
        inputs = self._inputs.get(image.position)[0]
        return self._forward(inputs, image.frozen)

    @property
    def _forward(self) -> Callable[[Tensor, FrozenPass], Any]:
        reads_loss = self.objective.reads_loss
        return self._adapter.loss if reads_loss else self._adapter.head_outputs

    def _start_round(self, forward: IncrementalForward) -> bool:
        """Begin a round; whether the outputs that it reuses are such as were never checked."""
        forward.start_round()
        reused = frozenset(forward.reused)
        if not self._check or reused in self._checked:
            return False
        self._checked.add(reused)
        return True

    def _differs(self, image: CalibrationImage, outputs: Any) -> bool:
        full = self._full_outputs(image)
        pairs = zip(flatten_tensors(outputs), flatten_tensors(full), strict=True)
        # A GPU may take another kernel for the same call.
        same = torch.equal if next(flatten_tensors(full)).device.type == "cpu" else _close
        return not all(same(a, b) for a, b in pairs)

    def _give_up_reuse(self) -> None:
        """Full passes from now on: what is reused depends on more than could be seen."""
        self.forward = None
        print_log(
            "an incremental pass differs from a full one: the model computes something outside of "
            "torch; every evaluation computes all of it from here on",
            logger="current",
            level=logging.WARNING,
        )

    @torch.no_grad()
    def _see_float(self, context: CalibrationContext, positions: Container[int] | None) -> None:
        model, data = context.model, context.data
        model.eval()
        with float_form(model):
            for position, batch in context.track(data, "float outputs", len(data)):
                if positions is not None and position not in positions:
                    continue
                batch = self._adapter.preprocess(batch, self.objective.reads_loss)
                inputs, samples = batch["inputs"], batch["data_samples"]
                path = data.paths[position]
                self.objective.check(samples, path)
                self._model.start_pass()
                frozen = self._adapter.freeze(inputs, samples, self.objective.reads_loss)
                image = CalibrationImage(position, samples, frozen, path)
                self._inputs.put(position, [inputs])
                self._images.append(image)
                self.objective.see_float(image, self._full_outputs(image))


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)
