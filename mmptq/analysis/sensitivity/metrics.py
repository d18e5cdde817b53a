"""The metric with single quantizers on, and with all on but one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from mmptq.analysis.sensitivity.measure import SensitivityReport
from mmptq.analysis.sensitivity.ranking import rank_correlations
from mmptq.analysis.sensitivity.record import worst_first
from mmptq.analysis.sensitivity.switching import ALL, NONE, ONE, REST, switched
from mmptq.analysis.sensitivity.tensors import QuantizedTensor, quantized_tensors
from mmptq.engine import CalibrationContext, SearchLog
from mmptq.engine.storage.search_log import Point
from mmptq.models import model_digest

# A reference, what is measured against it, and what that is called.
_AROUND = (
    (NONE, ONE, "metric with each of the worst alone"),
    (ALL, REST, "metric with all but each of the worst"),
)
# So much is lost if the run is killed, and so many variants' detections are in memory.
_AT_ONCE = 9

# In the context that it gives, the model is this variant.
Variant = Callable[[], AbstractContextManager[None]]


class MeasureVariants(Protocol):
    """Measures variants of a model."""

    def __call__(self, variants: Sequence[Variant], name: str) -> Sequence[float]:
        """The metric of each.

        Args:
            variants: In the context that each gives, the model is it; the first one differs from
                each of the others in one quantizer.
            name: Of the task.
        """
        ...


def add_metrics(
    report: SensitivityReport,
    context: CalibrationContext,
    measure: MeasureVariants,
    top_k: int,
    what: Mapping[str, Any],
) -> SensitivityReport:
    """Measure the metric of the float model, the quantized one, and of the ``top_k`` worst.

    Those that differ from the float model in one quantizer are measured together, and then those
    that differ from the quantized one. Values are logged: what a killed run has finished measuring
    is not measured again.

    Args:
        report: Of the model.
        context: Its model is left as it is.
        measure: The metric of several variants of the model.
        top_k: How many.
        what: Says what is measured, in the log.
    """
    tensors = quantized_tensors(context.model, {})
    numbers = {tensor.name: float(i) for i, tensor in enumerate(tensors)}
    worst = [numbers[record.name] for record in worst_first(report.records)[:top_k]]
    header = {"what": dict(what), "model": model_digest(context.model, ranges=True)}
    log = SearchLog(context.store.folder / "metrics.jsonl", header)
    try:
        for reference, mode, name in _AROUND:
            points = [(reference, 0.0), *((mode, i) for i in worst)]
            _measure_around(points, tensors, log, partial(measure, name=name))
    finally:
        log.close()
    found = {record.name: record for record in report.records}
    for i in worst:
        name = tensors[int(i)].name
        alone, without = log.values[ONE, i], log.values[REST, i]
        found[name] = replace(found[name], metric_alone=alone, metric_without=without)
    records = tuple(found.values())
    return replace(
        report,
        records=records,
        metric_float=log.values[NONE, 0.0],
        metric_all=log.values[ALL, 0.0],
        correlations=rank_correlations(records),
    )


def _measure_around(
    points: Sequence[Point],
    tensors: Sequence[QuantizedTensor],
    log: SearchLog,
    measure: Callable[[Sequence[Variant]], Sequence[float]],
) -> None:
    """Add what the log lacks; the first point is the one that the others differ little from."""
    while missing := [point for point in points if point not in log.values]:
        together = list(dict.fromkeys([points[0], *missing[:_AT_ONCE]]))
        variants = [partial(switched, tensors, *point) for point in together]
        for point, value in zip(together, measure(variants), strict=True):
            if point in missing:
                log.add(point, value)
