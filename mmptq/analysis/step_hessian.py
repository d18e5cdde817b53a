"""Hessian of the loss in the quantization steps, and its Gaussian curvature (LAPQ, Fig. A.1)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from mmptq.algorithms.lapq.search_space import SearchSpace, step_names
from mmptq.analysis.hessian import coupling, gaussian_curvature, measure_hessian
from mmptq.analysis.lp_path import set_lp_ranges
from mmptq.analysis.step_loss import StepLoss, choose_steps, fitting_names, mean_step
from mmptq.engine import CalibrationContext


def measure_step_hessian(
    context: CalibrationContext,
    pattern: str,
    limit: int | None,
    step: float,
    objective: Mapping[str, Any],
    name: str,
    cache_gb: float = 2.0,
) -> dict[str, Any]:
    """Hessian at the MMSE steps (those that minimise the L_2 norm, as in the paper).

    Steps are counted in multiples of their MMSE values: raw ones differ by orders of magnitude. The
    paper's raw derivatives follow by division with the steps. Where a tensor has one step for each
    channel, all move together, and the raw step is their mean.

    Args:
        context: With a prepared model; it is left with MMSE ranges.
        pattern: Of the steps' names.
        limit: See :func:`~mmptq.analysis.step_loss.choose_steps`.
        step: Relative step of the differences; repeated with twice as much.
        objective: Config of a class registered in ``OBJECTIVES``.
        name: What the progress report calls the task.
        cache_gb: Memory budget of the loss evaluation, in GiB.

    Returns:
        ``names``, ``steps`` (raw), ``loss``, ``step``; ``gradient`` ``(n,)`` and ``hessian``
        ``(n, n)`` in relative steps; ``error`` ``(n, n)``, how much the Hessian changes with twice
        the step, and ``relative_error``, the same over the Hessian's Frobenius norm; ``coupling``;
        Gaussian curvature ``K`` by step size, in relative and in raw steps.

    Raises:
        ConfigError: No step's name fits.
    """
    fitting_names(step_names(context.model), pattern)  # before any pass over the images
    set_lp_ranges(context, 2.0)
    steps = choose_steps(SearchSpace(context.model).variables, pattern, limit)
    loss = StepLoss(context, steps, objective, "hessian.jsonl", cache_gb)
    try:
        fine, coarse = measure_hessian(loss, len(steps), step, context.track, name)
    finally:
        loss.close()
    raw = [mean_step(s) for s in steps]
    error = np.abs(fine.hessian - coarse.hessian)
    curvature = {
        f"{size:g}": {
            "relative": asdict(gaussian_curvature(found)),
            "raw": asdict(gaussian_curvature(found.per_unit(raw))),
        }
        for size, found in ((step, fine), (2.0 * step, coarse))
    }
    return {
        "names": [s.name for s in steps],
        "steps": raw,
        "loss": fine.value,
        "step": step,
        "gradient": fine.gradient.tolist(),
        "hessian": fine.hessian.tolist(),
        "error": error.tolist(),
        "relative_error": float(np.linalg.norm(error) / np.linalg.norm(fine.hessian)),
        "coupling": coupling(fine.hessian),
        "K": curvature,
    }
