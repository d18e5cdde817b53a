"""All measures of all quantizers of a calibrated model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from mmptq.algorithms.sensitivity.forms import own_forms
from mmptq.algorithms.sensitivity.second_order import Estimate, second_order
from mmptq.analysis.sensitivity.ranking import Correlations, rank_correlations
from mmptq.analysis.sensitivity.record import Sensitivity
from mmptq.analysis.sensitivity.switching import Distances, measure_distances
from mmptq.analysis.sensitivity.tensors import Macs, QuantizedTensor, quantized_tensors
from mmptq.engine import CalibrationContext, OutputDistance
from mmptq.models import model_digest
from mmptq.registry import OBJECTIVES, build

OBJECTIVE: Mapping[str, Any] = {"type": "OutputDistance"}


@dataclass(frozen=True)
class SensitivityReport:
    """Of one model.

    Args:
        records: One a quantizer, in the order of execution.
        distance: With all of them on.
        metric_float: Metric with none on, ``None`` if not measured.
        metric_all: Metric with all on.
        correlations: :func:`~mmptq.analysis.sensitivity.ranking.rank_correlations`.
    """

    records: tuple[Sensitivity, ...]
    distance: float | None
    metric_float: float | None = None
    metric_all: float | None = None
    correlations: Correlations = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"records": [record.to_dict() for record in self.records]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SensitivityReport":
        """Inverse of :meth:`to_dict`; what it does not know is left out."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        records = tuple(Sensitivity.from_dict(record) for record in values["records"])
        return cls(**{**known, "records": records})


def measure_sensitivity(
    context: CalibrationContext,
    macs: Macs,
    objective: Mapping[str, Any] = OBJECTIVE,
    images: int = 4,
    probes: int = 1,
    cache_gb: float = 2.0,
) -> SensitivityReport:
    """Estimate and measure every quantizer that has a range.

    Args:
        context: With the calibrated model, which is left as it is.
        macs: Multiply-accumulate operations of each layer's calls.
        objective: Config of an :class:`~mmptq.engine.OutputDistance`.
        images: Calibration images of the measured distances, 0 to leave these out; the estimate is
            over all.
        probes: Backward passes an image.
        cache_gb: Memory budget of the measurement, in GiB.

    Raises:
        NumericalError: A tensor is not finite; names its layer.
    """
    tensors = quantized_tensors(context.model, macs)
    estimates = estimate(context, tensors, objective, probes)
    records = [_record(t, e) for t, e in zip(tensors, estimates, strict=True)]
    distance = None
    if images:
        distances = measure_distances(context, tensors, objective, images, cache_gb)
        records = [_with_distances(r, distances, i) for i, r in enumerate(records)]
        distance = distances.all
    return SensitivityReport(tuple(records), distance, correlations=rank_correlations(records))


def estimate(
    context: CalibrationContext,
    tensors: Sequence[QuantizedTensor],
    objective: Mapping[str, Any] = OBJECTIVE,
    probes: int = 1,
) -> list[Estimate]:
    """The second-order estimate of each tensor as it is quantized now; kept as a stage."""
    model = context.model
    names = {q: name for name, q in (*model.sites.items(), *model.weight_quantizers().items())}

    def compute() -> dict[str, Any]:
        built: OutputDistance = build(OBJECTIVES, objective, "objective")
        built.prepare(context.adapter, 0.0, context.store.folder)
        found = second_order(context, built, own_forms(model), probes)
        return {name: asdict(forms[0]) for name, forms in found.items()}

    digest = model_digest(model, ranges=True)
    stage = f"second_order_{objective['type']}_{probes}_{digest}"
    saved = context.store.once(stage, compute)
    return [Estimate(**saved[names[tensor.quantizer]]) for tensor in tensors]


def _record(tensor: QuantizedTensor, found: Estimate) -> Sensitivity:
    return Sensitivity(
        tensor.name,
        tensor.layers,
        tensor.which,
        tensor.stage,
        tensor.quantizer.scheme.num_bits,
        tensor.macs,
        found.numel,
        found.sqnr,
        found.fisher,
        found.fisher_error,
        found.projected,
        found.projected_error,
    )


def _with_distances(record: Sensitivity, distances: Distances, index: int) -> Sensitivity:
    rest = distances.rest(index)
    # Where the whole model's output is not finite, only what mends it can be told.
    if math.isnan(distances.all):
        rest = math.nan if math.isnan(distances.without[index]) else math.inf
    return replace(record, alone=distances.alone[index], rest=rest)
