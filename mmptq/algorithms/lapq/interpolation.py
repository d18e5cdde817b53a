"""LAPQ's first two phases: ranges along the L_p path, and the best p by quadratic interpolation."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from torch import Tensor

from mmptq.algorithms.base import Step
from mmptq.algorithms.lapq.plots import plot_interpolation
from mmptq.algorithms.lapq.report import SearchReport
from mmptq.algorithms.range_calibration import find_range
from mmptq.engine import CalibrationContext, LossEvaluator, SearchLog
from mmptq.errors import ConfigError, NumericalError
from mmptq.models import model_digest
from mmptq.observers import LpNormObserver, WeightStatistics
from mmptq.quantizers import UniformQuantizer
from mmptq.registry import OBJECTIVES, STEPS, build

Ranges = list[tuple[UniformQuantizer, Tensor, Tensor]]
LOG_NAME = "lp_interpolation.jsonl"


@STEPS.register_module()
class LpInterpolation(Step):
    """Chooses one ``p`` for the whole model, by the loss (LAPQ, sections 4.1 and 4.2).

    For each ``p`` of a grid, every weight and activation gets the range that minimises the L_p norm
    of its quantization error; the loss of the model with these ranges is measured. A parabola
    ``f(p)`` is fitted to the losses; where it is convex and its vertex lies in the grid's range,
    the ranges of that ``p`` are measured as well. The best of all points measured is kept.

    Args:
        p_range: Least and largest ``p``.
        num_points: Points of the grid, both ends included.
        interpolate: Whether to fit the parabola.
        objective: The loss, a config of a class registered in ``OBJECTIVES``.
        cache_gb: Memory budget of the loss evaluation, in GiB.

    Raises:
        ConfigError: An argument that cannot work.
    """

    sets_ranges = True

    def __init__(
        self,
        p_range: tuple[float, float] = (2.0, 4.0),
        num_points: int = 10,
        interpolate: bool = True,
        objective: Mapping[str, Any] = {"type": "TaskLoss"},  # noqa: B006
        cache_gb: float = 2.0,
    ) -> None:
        if len(p_range) != 2 or not 0.0 < p_range[0] < p_range[1]:
            raise ConfigError(f"LpInterpolation.p_range = {p_range!r}: must be 0 < least < largest")
        if not isinstance(num_points, int) or num_points < 1:
            raise ConfigError(f"LpInterpolation.num_points = {num_points!r}: must be 1 or more")
        built = build(OBJECTIVES, objective, "LpInterpolation.objective")
        self._reads_loss, self._reads_labels = built.reads_loss, built.reads_labels
        self.grid = [float(p) for p in np.linspace(*p_range, num_points)]
        self.interpolate = interpolate
        self.objective = dict(objective)
        self.cache_gb = cache_gb
        self.report: SearchReport | None = None  # of the last run

    @property
    def reads_loss(self) -> bool:
        """Where the objective does."""
        return self._reads_loss

    @property
    def reads_labels(self) -> bool:
        """Where the objective does."""
        return self._reads_labels

    def run(self, context: CalibrationContext) -> None:
        """Set and switch on every quantizer of the model."""
        context.model.forget_bias_corrections()
        path = _LpPath(context, self.objective, self.cache_gb)
        try:
            parabola, vertex = self._measure(path, context)
        finally:
            path.close()
        best = path.best()
        path.apply(best)
        self.report = path.report()
        print_log(describe(path.losses, best, vertex), logger="current")
        if is_main_process():
            folder = context.store.folder.parent
            plot_interpolation(path.losses, parabola, folder / "lp_interpolation.png")

    def _measure(
        self, path: "_LpPath", context: CalibrationContext
    ) -> tuple[tuple[float, float, float] | None, float | None]:
        """Losses of the grid and of the vertex; returns the parabola and its vertex in range."""
        for p in context.track(self.grid, "L_p path", len(self.grid)):
            path.loss(p)
        parabola = fit_parabola(self.grid, [path.losses[p] for p in self.grid])
        vertex = None if parabola is None else parabola_minimum(*parabola, self.grid)
        if self.interpolate and vertex is not None:
            path.loss(vertex)
        return parabola, vertex


class _LpPath:
    """Ranges and loss of the model for any ``p``."""

    def __init__(
        self, context: CalibrationContext, objective: Mapping[str, Any], cache_gb: float
    ) -> None:
        self._context = context
        # All ranges change from one p to the next: nothing could be reused.
        self._make_evaluator = lambda: LossEvaluator(
            context, objective, incremental=False, cache_gb=cache_gb
        )
        self._evaluator: LossEvaluator | None = None
        self._ranges: dict[float, Ranges] = {}
        header = {
            "step": "LpInterpolation",
            "objective": dict(objective),
            "model": model_digest(context.model, ranges=False),
        }
        self._log = SearchLog(context.store.folder / LOG_NAME, header)
        self.losses: dict[float, float] = {}

    def loss(self, p: float) -> float:
        """Measure the loss with the ranges of ``p``, or look it up."""
        if (p,) not in self._log.values:
            self.apply(p)
            if self._evaluator is None:
                self._evaluator = self._make_evaluator()
            self._log.add((p,), self._evaluator())
        self.losses[p] = self._log.values[p,]
        return self.losses[p]

    def report(self) -> SearchReport:
        """What the path came to."""
        losses = self.losses
        return SearchReport(
            1, len(losses), self._log.seconds, losses[min(losses)], losses[self.best()]
        )

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def apply(self, p: float) -> None:
        """Set the ranges of ``p``."""
        if p not in self._ranges:
            self._ranges[p] = self._find_ranges(p)
        for quantizer, low, high in self._ranges[p]:
            quantizer.set_range(low, high)

    def best(self) -> float:
        """The ``p`` with the least loss.

        Raises:
            NumericalError: No loss is finite.
        """
        finite = {p: loss for p, loss in self.losses.items() if math.isfinite(loss)}
        if not finite:
            raise NumericalError(
                "the loss is not finite at any p of the L_p path; raise qconfig's bit-widths, or "
                "leave more layers in float"
            )
        return min(finite, key=lambda p: finite[p])

    def _find_ranges(self, p: float) -> Ranges:
        observer, model = LpNormObserver(p), self._context.model
        statistics = self._context.activation_statistics()
        layers, ranges = dict(model.quant_layers()), []
        for name, quantizer in model.weight_quantizers().items():
            stats = WeightStatistics(layers[name].weight.detach(), quantizer.ch_axis)
            ranges.append((quantizer, *find_range(quantizer, observer, stats)))
        for name, quantizer in model.sites.items():
            ranges.append((quantizer, *find_range(quantizer, observer, statistics[name])))
        return ranges


def fit_parabola(p: Sequence[float], loss: Sequence[float]) -> tuple[float, float, float] | None:
    """``(a, b, c)`` of the least-squares ``a p^2 + b p + c`` through the finite losses.

    ``None`` where fewer than three points have a finite loss.
    """
    pairs = [(x, y) for x, y in zip(p, loss, strict=True) if math.isfinite(y)]
    if len({x for x, _ in pairs}) < 3:
        return None
    xs, ys = np.array(pairs).T
    a, b, c = np.polyfit(xs, ys, 2)
    return float(a), float(b), float(c)


def parabola_minimum(a: float, b: float, c: float, within: Sequence[float]) -> float | None:
    """Where ``a p^2 + b p + c`` is least, if it is convex and that lies in the range of points."""
    if a <= 0.0:
        return None
    vertex = -b / (2.0 * a)
    return vertex if min(within) <= vertex <= max(within) else None


def describe(losses: Mapping[float, float], best: float, vertex: float | None) -> str:
    """One line for the log."""
    found = "no vertex in range" if vertex is None else f"vertex at p = {vertex:.3f}"
    start = min(losses)
    return (
        f"LpInterpolation: {found}; best p = {best:.3f} with loss {losses[best]:.5f} "
        f"(p = {start:g}: {losses[start]:.5f})"
    )
