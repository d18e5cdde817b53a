"""Accuracy over cost as SVG: readable as it stands, with more in the hands of ``page.js``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmptq.leaderboard.pareto import pareto_front
from mmptq.webpage import Axes, for_html, linear_scale, log_scale

AXES = Axes(380, 270)
NUM_COLORS = 6
SHAPES = ("float", "minmax", "simulated", "runtime")


@dataclass(frozen=True)
class Point:
    """One row in a plot.

    Args:
        row: Id of its line in the table.
        x: Cost, above 0.
        y: Merit.
        text: Told at it.
        shape: One of :data:`SHAPES`.
        color: Number of its model.
        low: Lower end of the interval of ``y``.
        high: Upper end.
    """

    row: str
    x: float
    y: float
    text: str
    shape: str
    color: int = 0
    low: float | None = None
    high: float | None = None


def scatter(points: Sequence[Point], x_title: str, y_title: str) -> str:
    """``points`` with the Pareto front of all; costs on a logarithmic axis.

    Args:
        points: At least one.
        x_title: Of the costs.
        y_title: Of the merits.
    """
    x_of, x_ticks = log_scale([p.x for p in points], AXES.across)
    ends = [v for p in points for v in (p.low, p.y, p.high) if v is not None]
    y_of, y_ticks = linear_scale(ends, AXES.upward)
    front = [points[i] for i in pareto_front([(p.x, p.y) for p in points])]
    line = " ".join(f"{x_of(p.x):.1f},{y_of(p.y):.1f}" for p in front)
    label = for_html(f"{y_title} over {x_title}")
    parts = [
        f'<svg viewBox="0 0 {AXES.width} {AXES.height}" role="img" aria-label="{label}">',
        *(AXES.x_tick(x_of(tick), f"{tick:g}") for tick in x_ticks),
        *(AXES.y_tick(y_of(tick), f"{tick:g}") for tick in y_ticks),
        AXES.titles(x_title, y_title),
        f'<polyline class="front" points="{line}"/>',
        *(_mark(point, x_of, y_of) for point in points),
        "</svg>",
    ]
    return "\n".join(parts)


def _mark(point: Point, x_of: Callable[[float], float], y_of: Callable[[float], float]) -> str:
    x, y = x_of(point.x), y_of(point.y)
    bar = ""
    if point.low is not None and point.high is not None:
        ends = f'y1="{y_of(point.low):.1f}" y2="{y_of(point.high):.1f}"'
        bar = f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'
    color = point.color % NUM_COLORS
    return (
        f'<a class="pt {point.shape} c{color}" href="#{point.row}" data-row="{point.row}" '
        f'data-x="{point.x:.8g}" data-y="{point.y:.8g}" data-at="{x:.1f},{y:.1f}">'
        f"<title>{for_html(point.text)}</title>{bar}{shape(point.shape, x, y)}</a>"
    )


def shape(kind: str, x: float, y: float) -> str:
    """The mark of a kind of row, around a point."""
    if kind == "float":
        return f'<path d="M{x:.1f} {y - 6:.1f}l6 6-6 6-6-6z"/>'
    if kind == "runtime":
        return f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
