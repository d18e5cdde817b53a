"""The distance of the heads' outputs with one quantizer on, and with all on but one: measured."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmptq.analysis.sensitivity.tensors import QuantizedTensor
from mmptq.engine import CalibrationContext, LossEvaluator, float_form
from mmptq.engine.storage.measured import Measured
from mmptq.models import model_digest

# What is on at a point of the log, (mode, tensor): one, all but one, all, none.
ONE, REST, ALL, NONE = 0.0, 1.0, 2.0, 3.0


@dataclass(frozen=True)
class Distances:
    """What single quantizers do.

    Args:
        alone: Distance with each alone on, in the tensors' order.
        without: Distance with all on but each.
        all: Distance with all on.
    """

    alone: list[float]
    without: list[float]
    all: float

    def rest(self, index: int) -> float:
        """How much less the distance is without one of them."""
        return self.all - self.without[index]


def measure_distances(
    context: CalibrationContext,
    tensors: Sequence[QuantizedTensor],
    objective: Mapping[str, Any],
    images: int,
    cache_gb: float = 2.0,
) -> Distances:
    """Two sweeps in the order of execution, in which only what lies behind a change is computed.

    Every value is logged, so that a killed run computes only what is missing.

    Args:
        context: With the calibrated model, which is left as it is.
        tensors: Of the model.
        objective: Config of an :class:`~mmptq.engine.OutputDistance`.
        images: How many of the calibration images to measure on.
        cache_gb: Memory budget of the loss evaluation, in GiB.
    """
    evaluator: LossEvaluator | None = None

    def compute(point: Sequence[float]) -> float:
        nonlocal evaluator
        if evaluator is None:  # not before it is needed: the log may hold every value
            evaluator = LossEvaluator(
                context, objective, cache_gb=cache_gb, check=False, positions=range(images)
            )
        switch(tensors, *point)
        return evaluator()

    header = {
        "objective": dict(objective),
        "images": images,
        "tensors": [tensor.name for tensor in tensors],
        "model": model_digest(context.model, ranges=True),
    }
    measured = Measured(context.store.folder / "distances.jsonl", header, compute)
    track = context.track
    try:
        with float_form(context.model):
            alone = [measured((ONE, i)) for i in _numbered(track, tensors, "each quantizer alone")]
            everything = measured((ALL, 0))
            without = [measured((REST, i)) for i in _numbered(track, tensors, "all but each")]
    finally:
        measured.close()
    return Distances(alone, without, everything)


def switch(tensors: Iterable[QuantizedTensor], mode: float, index: float) -> None:
    """Set all switches as a point of the log says."""
    for i, tensor in enumerate(tensors):
        on = {ONE: i == index, REST: i != index, ALL: True, NONE: False}[mode]
        tensor.quantizer.enabled = on


@contextmanager
def switched(tensors: Sequence[QuantizedTensor], mode: float, index: float = 0.0) -> Iterator[None]:
    """As :func:`switch`, and as it was before afterwards."""
    before = [tensor.quantizer.enabled for tensor in tensors]
    switch(tensors, mode, index)
    try:
        yield
    finally:
        for tensor, on in zip(tensors, before, strict=True):
            tensor.quantizer.enabled = on


def _numbered(track: Any, tensors: Sequence[QuantizedTensor], name: str) -> Iterator[int]:
    return track(range(len(tensors)), name, len(tensors))
