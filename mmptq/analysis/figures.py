"""Pictures of the analyses. Without pyplot: no global state, no display."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from PIL import Image

from mmptq.errors import NumericalError
from mmptq.fileio import atomic_write

Results = Mapping[str, Mapping[str, Any]]  # by bit-width
_LEVELS = 14


def draw_surfaces(results: Results, path: Path) -> None:
    """Contours above, the surface below, one column a bit-width (LAPQ, Fig. 1 and 2).

    Args:
        results: ``names`` (two), ``steps`` (two lists), ``loss`` ``(N, M)``, ``lp`` (steps by p)
            and ``best`` (two steps) of each bit-width.
        path: Of the PNG.
    """
    figure = new_figure(3.6 * len(results), 6.4)
    for i, (label, found) in enumerate(results.items()):
        x, y = found["steps"]
        values = _capped(np.array(found["loss"], dtype=float))
        above, below = _pair_of_axes(figure, i, len(results))
        _contours(above, x, y, values, np.linspace(*_span(values), _LEVELS), figure)
        for p, (a, b) in found["lp"].items():
            above.plot(a, b, "o", markersize=6, markeredgecolor="white", label=f"p = {p}")
        above.plot(*found["best"], "rx", markersize=8, label="lowest")
        above.set(xlim=(min(x), max(x)), ylim=(min(y), max(y)), title=label)
        above.set(xlabel=f"step of {found['names'][0]}", ylabel=f"step of {found['names'][1]}")
        _small_labels(above)
        if i == 0:
            above.legend(fontsize=6, framealpha=0.5)
        _relief(below, x, y, values)
    save_figure(figure, path)


def draw_landscapes(results: Results, path: Path) -> None:
    """As :func:`draw_surfaces`, with the same levels in all columns.

    Args:
        results: ``axis`` and ``loss`` ``(N, N)`` of each model.
        path: Of the PNG.
    """
    figure = new_figure(2.9 * len(results), 5.2)
    surfaces = {k: np.array(found["loss"], dtype=float) for k, found in results.items()}
    finite = _finite([*surfaces.values()])
    # A few far corners must not flatten the rest, and a low-bit model lies high as a whole.
    low, high = float(finite.min()), float(np.percentile(finite, 90))
    levels = np.geomspace(max(low, 1e-6), max(high, low * 1.01, 2e-6), _LEVELS)
    for i, (label, values) in enumerate(surfaces.items()):
        axis = results[label]["axis"]
        above, below = _pair_of_axes(figure, i, len(results))
        shown = np.minimum(_capped(values), levels[-1])
        above.contourf(axis, axis, shown.T, levels, norm=LogNorm(), cmap="viridis", extend="both")
        above.contour(axis, axis, shown.T, levels, colors="white", linewidths=0.4)
        above.set(title=label, aspect="equal")
        _small_labels(above)
        _relief(below, axis, axis, shown)
        below.set_zlim(levels[0], levels[-1])  # type: ignore[attr-defined]
    save_figure(figure, path)


def draw_over_p(results: Results, ylabel: str, path: Path) -> None:
    """A line a bit-width, and the L_p errors of one tensor beside it (LAPQ, Fig. 3 and 4).

    Args:
        results: ``p``, ``values`` and, where there are some, ``errors`` of each bit-width
            (:func:`~mmptq.analysis.lp_path.lp_error_curves` with ``name``).
        ylabel: What the values are.
        path: Of the PNG.
    """
    figure = new_figure(3.8 * (1 + len(results)), 3.6)
    axes = figure.add_subplot(1, 1 + len(results), 1)
    for label, found in results.items():
        axes.plot(found["p"], found["values"], "o-", label=label)
    axes.set(xlabel="p", ylabel=ylabel, title="ranges of least L_p error")
    axes.legend()
    for i, (label, found) in enumerate(results.items()):
        axes = figure.add_subplot(1, 1 + len(results), 2 + i)
        errors = found["errors"]
        for p, curve in errors["curves"].items():
            (line,) = axes.plot(errors["shares"], curve, label=f"p = {p}")
            best = int(np.argmin(curve))
            axes.plot(errors["shares"][best], curve[best], "o", color=line.get_color())
        axes.set(ylim=(0.98, 2.0), xlabel="step / largest step", ylabel="L_p error / least")
        axes.set_title(f"{label}: {errors['name']}", fontsize=8)
        axes.legend(fontsize=7)
    save_figure(figure, path)


def draw_p_path(results: Results, path: Path) -> None:
    """Loss along the L_p path with the parabola and its vertex (LAPQ, Fig. 5b).

    Args:
        results: ``p``, ``values``, ``parabola``, ``vertex`` and ``vertex_value`` of each bit-width.
        path: Of the PNG.
    """
    figure = new_figure(4.2 * len(results), 3.6)
    for i, (label, found) in enumerate(results.items()):
        axes = figure.add_subplot(1, len(results), i + 1)
        axes.plot(found["p"], found["values"], "o", label="measured")
        if found["parabola"] is not None:
            grid = np.linspace(min(found["p"]), max(found["p"]), 100)
            axes.plot(grid, np.polyval(found["parabola"], grid), ":", label="parabola")
        if found["vertex"] is not None:
            text = f"at the vertex, p = {found['vertex']:.2f}"
            axes.plot(found["vertex"], found["vertex_value"], "r*", markersize=10, label=text)
        axes.set(xlabel="p", ylabel="loss", title=label)
        axes.legend(fontsize=8)
    save_figure(figure, path)


def draw_hessians(results: Results, path: Path) -> None:
    """Magnitudes as heat maps, all with one colour scale (LAPQ, Fig. A.1).

    Args:
        results: ``names``, ``hessian`` ``(n, n)`` and ``coupling`` of each bit-width.
        path: Of the PNG.
    """
    figure = new_figure(4.6 * len(results) + 1.0, 5.0)
    matrices = {k: np.abs(np.array(found["hessian"])) for k, found in results.items()}
    largest = float(_finite([*matrices.values()]).max()) or 1.0
    norm = LogNorm(largest * 1e-4, largest)
    for i, (label, matrix) in enumerate(matrices.items()):
        axes = figure.add_subplot(1, len(matrices), i + 1)
        image = axes.imshow(np.maximum(matrix, largest * 1e-4), norm=norm, cmap="magma")
        names, ticks = results[label]["names"], range(len(matrix))
        axes.set_yticks(ticks, names if i == 0 else [""] * len(names), fontsize=5)
        axes.set_xticks(ticks, names, fontsize=5, rotation=90)
        axes.set_title(f"{label}, coupling {results[label]['coupling']:.2f}", fontsize=8)
        figure.colorbar(image, ax=axes, shrink=0.6)
    save_figure(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, to be saved by :func:`save_figure`."""
    figure = Figure(figsize=(width, height), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _pair_of_axes(figure: Figure, column: int, columns: int) -> tuple[Axes, Axes]:
    above = figure.add_subplot(2, columns, 1 + column)
    return above, figure.add_subplot(2, columns, 1 + columns + column, projection="3d")


def _contours(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    values: np.ndarray,
    levels: np.ndarray,
    figure: Figure,
) -> None:
    filled = axes.contourf(x, y, values.T, levels, cmap="viridis", extend="max")
    axes.contour(x, y, values.T, levels, colors="white", linewidths=0.4)
    figure.colorbar(filled, ax=axes, shrink=0.8).ax.tick_params(labelsize=6)


def _relief(axes: Any, x: Sequence[float], y: Sequence[float], values: np.ndarray) -> None:
    across, along = np.meshgrid(x, y, indexing="ij")
    axes.plot_surface(across, along, values, cmap="viridis", linewidth=0.1, edgecolor="white")
    axes.tick_params(labelsize=5, pad=-3)


def _finite(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All finite values.

    Raises:
        NumericalError: There are none.
    """
    values = np.concatenate([array.ravel() for array in arrays])
    if not np.isfinite(values).any():
        raise NumericalError("no value is finite, there is nothing to draw; use more bits")
    return values[np.isfinite(values)]


def _capped(values: np.ndarray) -> np.ndarray:
    """Without NaN and infinity, for which contours have no place."""
    return np.where(np.isfinite(values), values, _finite([values]).max())


def _span(values: np.ndarray) -> tuple[float, float]:
    """Lowest and (but for a few far corners) highest level."""
    low, high = float(values.min()), float(np.percentile(values, 95))
    return low, max(high, low + 1e-9)


def _small_labels(axes: Axes) -> None:
    axes.tick_params(labelsize=6)
    axes.xaxis.label.set_fontsize(6)
    axes.yaxis.label.set_fontsize(6)


def save_figure(figure: Figure, path: Path) -> None:
    """Write it as a small PNG, whole or not at all."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight")
    with atomic_write(path) as file:  # with a palette, a quarter of the size
        Image.open(drawn).convert("RGB").quantize(256).save(file, format="png", optimize=True)
