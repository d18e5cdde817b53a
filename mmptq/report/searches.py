"""Curves of LAPQ's searches, out of their logs in ``stages/``."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from mmptq.algorithms.lapq.interpolation import LOG_NAME as PATH_LOG
from mmptq.algorithms.lapq.joint_search import HELD_OUT_LOG_NAME as HELD_OUT_LOG
from mmptq.algorithms.lapq.joint_search import LOG_NAME as SEARCH_LOG
from mmptq.engine.storage.search_log import read_search_log
from mmptq.errors import MmptqError
from mmptq.report.reading import number, numbers
from mmptq.report.run import Run
from mmptq.report.section import paragraph
from mmptq.webpage import Axes, Line, legend, line_plot

_AXES = Axes(520, 260, left=58)
_GONE = "Its log is not in stages/ any more, so that there is no curve."


def interpolation_curve(run: Run) -> str:
    """Loss over p (LAPQ, Fig. 5b)."""
    found = [(numbers(line, "point")[:1], number(line, "loss")) for line in _search(run, PATH_LOG)]
    points = sorted((p[0], loss) for p, loss in found if p)
    if not points:
        return paragraph(_GONE, "note")
    best = min(points, key=lambda point: point[1] if point[1] == point[1] else np.inf)
    lines = [
        Line("", points, "line", 5),
        Line("measured", points, "dots"),
        Line(f"taken: p = {best[0]:.3g}", [best], "mark", 1),
    ]
    return _figure(lines, line_plot(lines, "p of the norm", "loss", _AXES))


def search_curve(run: Run) -> str:
    """Loss of each evaluation, and the best so far."""
    losses = np.array([number(line, "loss") for line in _search(run, SEARCH_LOG)], dtype=float)
    finite = losses[np.isfinite(losses)]
    if not finite.size:
        return paragraph(_GONE, "note")
    best = np.fmin.accumulate(np.where(np.isfinite(losses), losses, np.nan))
    # Line searches probe far points: they must not flatten the rest.
    low, usual = float(finite.min()), float(np.percentile(finite, 90))
    top = usual + 0.5 * (usual - low)
    lines = [
        Line("evaluated", list(enumerate(losses.tolist(), 1)), "dots"),
        Line("best", list(enumerate(best.tolist(), 1)), "line", 1),
    ]
    plot = line_plot(lines, "evaluation", "loss", _AXES, top if top > low else None)
    said = f"{len(losses)} evaluations: loss {finite[0]:.4g} at the start, {low:.4g} at the best."
    return paragraph(said + _held_out(run)) + _figure(lines, plot)


def _held_out(run: Run) -> str:
    """The first loss is the start's, the second that of what was found; the least one was kept."""
    losses = [number(line, "loss") for line in _search(run, HELD_OUT_LOG)]
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(losses) < 2 or not finite:
        return ""
    return (
        f" On images that the search did not see: {losses[0]:.4g} at the start, {losses[1]:.4g} "
        f"with what it found, {min(finite):.4g} with what was kept of it."
    )


def _search(run: Run, name: str) -> list[dict[str, Any]]:
    """The evaluations of the last search in a log.

    Raises:
        MmptqError: The log cannot be read.
    """
    path: Path = run.folder / "stages" / name
    if not path.is_file():
        return []
    try:
        lines = [line for line in read_search_log(path) if isinstance(line, dict)]
    except (OSError, UnicodeDecodeError) as error:
        raise MmptqError(f"cannot read {path}: {error}") from error
    starts = [i for i, line in enumerate(lines) if "search" in line]
    return lines[starts[-1] + 1 :] if starts else []


def _figure(lines: list[Line], plot: str) -> str:
    return f'<div class="plots"><figure>{plot}{legend(lines)}</figure></div>' if plot else ""
