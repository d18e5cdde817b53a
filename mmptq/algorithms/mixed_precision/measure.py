"""What allocations do, measured; each once, whatever happens to the run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from mmptq.algorithms.mixed_precision.groups import Allocation
from mmptq.algorithms.mixed_precision.model_bits import ModelBits
from mmptq.engine import CalibrationContext, LossEvaluator, float_form
from mmptq.engine.storage.measured import Measured
from mmptq.models import model_digest

Measure = Callable[[Allocation], float]
FLOAT: Allocation = ()  # in place of an allocation: the float model


@contextmanager
def losses(
    context: CalibrationContext, bits: ModelBits, objective: Mapping[str, Any], images: int
) -> Iterator[Measure]:
    """What measures an objective, everything quantized.

    Args:
        context: Its model's bits are moved.
        bits: Of the model.
        objective: Config of a class registered in ``OBJECTIVES``.
        images: How many of the calibration images.
    """
    evaluator: LossEvaluator | None = None

    def loss() -> float:
        nonlocal evaluator
        if evaluator is None:  # not before it is needed: the log may hold every value
            # Everything changes from one allocation to the next: there is nothing to reuse.
            evaluator = LossEvaluator(
                context, objective, incremental=False, positions=range(images)
            )
        return evaluator()

    header = {"objective": dict(objective), "images": images}
    with _logged(context, bits, "losses", header, loss) as measure:
        yield measure


@contextmanager
def accuracies(context: CalibrationContext, bits: ModelBits) -> Iterator[Measure]:
    """What measures the main metric, with everything quantized.

    Args:
        context: With something that measures; its model's bits are moved.
        bits: Of the model.
    """
    assert context.accuracy is not None
    with _logged(context, bits, "accuracies", {}, context.accuracy.now) as measure:
        yield measure


@contextmanager
def _logged(
    context: CalibrationContext,
    bits: ModelBits,
    name: str,
    header: Mapping[str, Any],
    compute: Callable[[], float],
) -> Iterator[Measure]:
    def value(point: Sequence[float]) -> float:
        if not point:
            with float_form(context.model):
                return compute()
        bits.apply(tuple(int(i) for i in point))
        return compute()

    depends = {
        **header,
        "groups": [asdict(group) for group in bits.groups],
        "model": model_digest(context.model, ranges=False),
    }
    measured = Measured(context.store.folder / f"mixed_precision_{name}.jsonl", depends, value)
    try:
        yield measured
    finally:
        measured.close()
