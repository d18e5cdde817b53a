"""One number for how good a model is, for steps that choose by it."""

from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

from mmptq.engine import StageStore, float_form
from mmptq.errors import MmptqError
from mmptq.evaluation import FLOAT_METHOD, ResultRow
from mmptq.evaluation.result_table import in_points, metric_keys
from mmptq.models import QuantModel
from mmptq.runner.settings import CalibrationSettings


class Measuring(Protocol):
    """A runner that evaluates its model."""

    model: QuantModel
    settings: CalibrationSettings

    def evaluate(self, method: str) -> dict[str, float]:
        """Metrics of the model as it is now."""
        ...


class MainMetric:
    """The first metric of the results' table, in its points.

    Args:
        runner: Evaluates.
        store: Where the float model's metrics are kept.
    """

    def __init__(self, runner: Measuring, store: StageStore) -> None:
        self._runner, self._store = runner, store

    def of_float(self) -> float:
        """Of the float model; measured once in a run."""
        return self._in_points(self._float_metrics)

    def now(self) -> float:
        """Of the model as it stands; 0 where it detects nothing at all."""
        return self._in_points(self._runner.evaluate(self._runner.settings.method))

    @cached_property
    def _float_metrics(self) -> dict[str, float]:
        return dict(self._store.once("metrics_float", self._measure_float))

    def _measure_float(self) -> dict[str, float]:
        with float_form(self._runner.model):
            return self._runner.evaluate(FLOAT_METHOD)

    def _in_points(self, metrics: Mapping[str, float]) -> float:
        keys = metric_keys([ResultRow(FLOAT_METHOD, "-", 32, 32, metrics=self._float_metrics)])
        if not keys:
            raise MmptqError("the evaluator gives the float model no metric to choose by")
        return in_points(metrics.get(keys[0], 0.0), keys[0])
