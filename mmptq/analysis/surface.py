"""The loss over two steps (LAPQ, Fig. 1 and 2)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmptq.algorithms.lapq.search_space import SearchSpace, step_names
from mmptq.analysis.lp_path import set_lp_ranges, step_range
from mmptq.analysis.step_loss import StepLoss, choose_pair, fitting_names, mean_step
from mmptq.engine import CalibrationContext, Track

LP_MARKS = (2.0, 2.5, 3.0, 3.5, 4.0)  # of LAPQ's Fig. 1


def measure_step_surface(
    context: CalibrationContext,
    patterns: Sequence[str] | None,
    multipliers: Sequence[float],
    objective: Mapping[str, Any],
    name: str,
    cache_gb: float = 2.0,
) -> dict[str, Any]:
    """Loss over two steps, all others at their MMSE values.

    Args:
        context: With a prepared model; it is left with MMSE ranges.
        patterns: Of the two steps' names, see :func:`~mmptq.analysis.step_loss.choose_pair`.
        multipliers: Of the MMSE steps, the grid along both axes.
        objective: Config of a class registered in ``OBJECTIVES``.
        name: What the progress report calls the task.
        cache_gb: Memory budget of the loss evaluation, in GiB.

    Returns:
        Two ``names``, ``multipliers``, ``steps`` (two lists), ``loss`` ``(N, N)`` and ``at_mmse``;
        ``lp``: the two steps of least L_p error, by p; ``best`` and ``best_multipliers``: where the
        grid is lowest, ``least``: its value there.

    Raises:
        ConfigError: There are no two such steps.
    """
    for pattern in patterns or ():  # before any pass over the images
        fitting_names(step_names(context.model), pattern)
    set_lp_ranges(context, 2.0)
    pair = choose_pair(SearchSpace(context.model).variables, patterns)
    starts = [mean_step(step) for step in pair]
    marks = {f"{p:g}": [step_range(context, step, p) for step in pair] for p in LP_MARKS}
    for step in pair:
        step_range(context, step, 2.0)
    loss = StepLoss(context, pair, objective, "surface.jsonl", cache_gb)
    try:
        at_mmse = loss((1.0, 1.0))
        values = measure_surface(loss, multipliers, multipliers, context.track, name)
    finally:
        loss.close()
    steps = [[start * m for m in multipliers] for start in starts]
    x, y, least = lowest(steps[0], steps[1], values)
    return {
        "names": [step.name for step in pair],
        "multipliers": list(multipliers),
        "steps": steps,
        "loss": values.tolist(),
        "at_mmse": at_mmse,
        "lp": marks,
        "best": [x, y],
        "best_multipliers": [x / starts[0], y / starts[1]],
        "least": least,
    }


def measure_surface(
    function: Callable[[Sequence[float]], float],
    first: Sequence[float],
    second: Sequence[float],
    track: Track,
    name: str,
) -> np.ndarray:
    """``function((x, y))`` for all ``x`` of ``first`` and ``y`` of ``second``.

    The second variable runs in the inner loop: where it belongs to a later layer, an incremental
    evaluation recomputes less.

    Args:
        function: Of a pair.
        first: Values of the first variable, ``(N,)``.
        second: Values of the second, ``(M,)``.
        track: Progress reporter.
        name: What it calls the task.

    Returns:
        ``(N, M)``.
    """
    points = [(x, y) for x in first for y in second]
    values = [function(point) for point in track(points, name, len(points))]
    return np.array(values, dtype=float).reshape(len(first), len(second))


def lowest(
    first: Sequence[float], second: Sequence[float], values: np.ndarray
) -> tuple[float, float, float]:
    """``(x, y, value)`` of the least finite value, NaN where there is none."""
    finite = np.isfinite(values)
    if not finite.any():
        return float("nan"), float("nan"), float("nan")
    row, column = divmod(int(np.where(finite, values, np.inf).argmin()), values.shape[1])
    return float(first[row]), float(second[column]), float(values[row, column])
