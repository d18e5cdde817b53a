"""Whole models along the L_p path: ranges, loss or metric, and one tensor's L_p errors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mmptq.algorithms import RangeCalibration
from mmptq.algorithms.lapq.interpolation import fit_parabola, parabola_minimum
from mmptq.algorithms.lapq.search_space import SearchSpace, Variable, step_names
from mmptq.algorithms.range_calibration import set_range
from mmptq.analysis.step_loss import choose_steps, fitting_names
from mmptq.engine import CalibrationContext, LossEvaluator
from mmptq.engine.storage.measured import Measured
from mmptq.models import model_digest
from mmptq.observers import LpNormObserver, Statistics, WeightStatistics


class ModelLoss:
    """Loss of the model as it stands; nothing of one evaluation serves the next.

    Args:
        context: Model and images.
        objective: Config of a class registered in ``OBJECTIVES``.
        cache_gb: Memory budget of the loss evaluation, in GiB.
    """

    def __init__(
        self, context: CalibrationContext, objective: Mapping[str, Any], cache_gb: float = 2.0
    ) -> None:
        self.objective = dict(objective)
        self._make = lambda: LossEvaluator(context, objective, incremental=False, cache_gb=cache_gb)
        self._evaluator: LossEvaluator | None = None

    def prepare(self) -> None:
        """Look at the float model, unless that is done; a call does it by itself."""
        if self._evaluator is None:  # not before it is needed: a log may hold every value
            self._evaluator = self._make()

    def __call__(self) -> float:
        """The loss; NaN where an output is not finite."""
        self.prepare()
        assert self._evaluator is not None
        return self._evaluator()


def set_lp_ranges(context: CalibrationContext, p: float) -> None:
    """Give every quantizer the range of least L_p error (LAPQ, eq. 12)."""
    observer = {"type": "LpNormObserver", "p": p}
    RangeCalibration(weight=observer, act=observer).run(context)


def measure_over_p(
    context: CalibrationContext,
    grid: Sequence[float],
    function: Callable[[], float],
    log: str,
    what: Mapping[str, Any],
    name: str,
    at_vertex: bool = False,
) -> dict[str, Any]:
    """``function()`` with the ranges of each ``p``, and the parabola through the values.

    Args:
        context: Its model is left with the last ranges that were set.
        grid: Values of ``p``.
        function: Loss or metric of the model as it stands.
        log: File name of the log, in the stages' folder.
        what: Says what is measured, in the log.
        name: What the progress report calls the task.
        at_vertex: Measure at the parabola's minimum as well, where it is in the grid's range.

    Returns:
        ``p``, ``values``, ``parabola`` (a, b, c), its ``vertex`` and ``vertex_value``; ``None`` for
        what there is not.
    """

    def compute(point: Sequence[float]) -> float:
        set_lp_ranges(context, point[0])
        return function()

    header = {"what": dict(what), "model": model_digest(context.model, ranges=False)}
    measured = Measured(context.store.folder / log, header, compute)
    try:
        values = [measured((p,)) for p in context.track(grid, name, len(grid))]
        parabola = fit_parabola(grid, values)
        vertex = None if parabola is None else parabola_minimum(*parabola, grid)
        found = measured((vertex,)) if at_vertex and vertex is not None else None
    finally:
        measured.close()
    return {
        "p": list(grid),
        "values": values,
        "parabola": parabola,
        "vertex": vertex,
        "vertex_value": found,
    }


def measure_lp_errors(
    context: CalibrationContext, pattern: str, powers: Sequence[float], shares: Sequence[float]
) -> dict[str, Any]:
    """L_p norm of one tensor's quantization error over its step (LAPQ, Fig. 4).

    Args:
        context: With a prepared model; it is left with MMSE ranges.
        pattern: Of the name; of the tensors that fit, the first among those with the fewest bits.
        powers: Values of ``p``.
        shares: Of the whole range, which the quantizer covers; the step is proportional to it.

    Returns:
        ``name``, ``shares`` and ``curves``: for each ``p`` the norm (mean over elements) relative
        to its least value.

    Raises:
        ConfigError: No name fits.
    """
    fitting_names(step_names(context.model), pattern)  # before any pass over the images
    set_lp_ranges(context, 2.0)
    steps = choose_steps(SearchSpace(context.model).variables, pattern, None)
    step = min(steps, key=lambda s: s.quantizers[0].scheme.num_bits)
    quantizer, stats = step.quantizers[0], _statistics(context, step)
    column = torch.tensor(list(shares)).reshape(-1, *[1] * stats.low.dim())
    low, high = stats.low * column, stats.high * column
    curves = {}
    for p in powers:
        error = stats.lp_error(low, high, quantizer.scheme, p).double()
        norm = error.reshape(len(shares), -1).mean(1) ** (1.0 / p)
        curves[f"{p:g}"] = (norm / norm.min()).tolist()
    return {"name": step.name, "shares": list(shares), "curves": curves}


def step_range(context: CalibrationContext, step: Variable, p: float) -> float:
    """Give one step's tensor alone the range of least L_p error; its step (mean over channels)."""
    quantizer = step.quantizers[0]
    set_range(quantizer, LpNormObserver(p), _statistics(context, step))
    return float(quantizer.scale.double().mean())


def _statistics(context: CalibrationContext, step: Variable) -> Statistics:
    model, wanted = context.model, step.quantizers[0]
    for name, site in model.sites.items():
        if site is wanted:
            return context.activation_statistics()[name]
    layer = dict(model.quant_layers())[step.name.removesuffix(".weight")]
    return WeightStatistics(layer.weight.detach(), wanted.ch_axis)
