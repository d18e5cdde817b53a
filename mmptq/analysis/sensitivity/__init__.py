"""How much each quantizer hurts: estimated from one pass, and measured one by one."""

from mmptq.analysis.sensitivity.measure import (
    SensitivityReport,
    estimate,
    measure_sensitivity,
)
from mmptq.analysis.sensitivity.metrics import MeasureVariants, Variant, add_metrics
from mmptq.analysis.sensitivity.record import (
    Sensitivity,
    StageSensitivity,
    sum_by_stage,
    worst_first,
)

__all__ = [
    "MeasureVariants",
    "Sensitivity",
    "SensitivityReport",
    "StageSensitivity",
    "Variant",
    "add_metrics",
    "estimate",
    "measure_sensitivity",
    "sum_by_stage",
    "worst_first",
]
