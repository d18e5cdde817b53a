"""Pictures of a search."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot_interpolation(
    losses: Mapping[float, float], parabola: tuple[float, float, float] | None, path: Path
) -> None:
    """Loss over p with the fitted parabola (LAPQ, Fig. 5b)."""
    figure, axes = _figure()
    points = sorted((p, loss) for p, loss in losses.items() if math.isfinite(loss))
    axes.plot([p for p, _ in points], [loss for _, loss in points], "o", label="measured")
    if parabola is not None and points:
        grid = np.linspace(points[0][0], points[-1][0], 100)
        axes.plot(grid, np.polyval(parabola, grid), ":", label="parabola")
    axes.set(xlabel="p", ylabel="loss", title="Loss along the L_p path")
    axes.legend()
    figure.savefig(path)


def plot_search(losses: Sequence[float], path: Path) -> None:
    """Loss of each evaluation, and the best so far."""
    figure, axes = _figure()
    finite = np.array([loss if math.isfinite(loss) else math.nan for loss in losses])
    best = np.fmin.accumulate(finite)
    axes.plot(finite, ".", markersize=3, label="evaluated")
    axes.plot(best, label="best")
    top = float(np.nanpercentile(finite, 90)) if np.isfinite(finite).any() else 1.0
    bottom = float(np.nanmin(finite)) if np.isfinite(finite).any() else 0.0
    if top > bottom:  # line searches probe far points: do not let them flatten the rest
        axes.set_ylim(bottom - 0.1 * (top - bottom), top + 0.5 * (top - bottom))
    axes.set(xlabel="evaluation", ylabel="loss", title="Joint search")
    axes.legend()
    figure.savefig(path)


def _figure() -> tuple[Figure, Axes]:
    # Without pyplot: no global state, no display.
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()
