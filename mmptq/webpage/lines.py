"""Curves as SVG: a loss over iterations, a bit-width on its way down."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mmptq.webpage.axes import Axes, Scale, linear_scale, log_scale
from mmptq.webpage.safe_text import for_html

Look = Literal["line", "dots", "mark", "steps"]
Point = tuple[float, float]
MOST_POINTS = 240  # of a curve; a plot is hardly wider in pixels
_RADII = {"dots": 2, "mark": 5}
_LARGEST = 1e15  # beyond it neighbouring floats are a tick apart


@dataclass(frozen=True)
class Line:
    """One curve.

    Args:
        label: Its name; without one it is not in the legend.
        points: ``(x, y)`` in the order of x; what is not finite is left out.
        look: Joined by straight lines, as dots, as large dots, or as steps.
        color: Number of its colour, 0 to 5.
    """

    label: str
    points: Sequence[Point]
    look: Look = "line"
    color: int = 0

    @property
    def drawn(self) -> list[Point]:
        """The points that can be drawn, thinned."""
        finite = [
            (x, y)
            for x, y in self.points
            if math.isfinite(x) and math.isfinite(y) and max(abs(x), abs(y)) < _LARGEST
        ]
        return thinned(finite)


def line_plot(
    lines: Sequence[Line], x_title: str, y_title: str, axes: Axes, top: float | None = None
) -> str:
    """The curves in one plot, logarithmic where all values are positive and far from each other.

    Args:
        lines: Curves.
        x_title: What is on the x axis.
        y_title: What is on the y axis.
        axes: The plot's box.
        top: What lies above it is drawn at the upper edge; by default there is room for all.

    Returns:
        The SVG; nothing where no point can be drawn.
    """
    drawn = [(line, found) for line in lines if (found := line.drawn)]
    points = [point for _, found in drawn for point in found]
    if not points:
        return ""
    ys = [y if top is None else min(y, top) for _, y in points]
    xs = [x for x, _ in points]
    x_of, x_ticks = linear_scale(xs, axes.across, _room(xs))
    y_of, y_ticks = _y_scale(ys, axes.upward)
    label = for_html(f"{y_title} over {x_title}")

    def place(point: Point) -> Point:
        return x_of(point[0]), y_of(point[1] if top is None else min(point[1], top))

    parts = [
        f'<svg viewBox="0 0 {axes.width} {axes.height}" role="img" aria-label="{label}">',
        *(axes.x_tick(x_of(tick), f"{tick:g}") for tick in x_ticks),
        *(axes.y_tick(y_of(tick), f"{tick:.3g}") for tick in y_ticks),
        axes.titles(x_title, y_title),
        *(_curve(line, found, place) for line, found in drawn),
        "</svg>",
    ]
    return "\n".join(parts)


def legend(lines: Sequence[Line]) -> str:
    """The curves' names beside their colours; nothing where at most one has a name."""
    named = [line for line in lines if line.label]
    if len(named) < 2:
        return ""
    entries = []
    for line in named:
        radius = _RADII.get(line.look)
        mark = f'<circle cx="8" cy="8" r="{radius}"/>' if radius else '<path d="M1 8H15"/>'
        svg = f'<svg viewBox="0 0 16 16" aria-hidden="true">{mark}</svg>'
        look = f"curve {line.look} c{line.color}"
        entries.append(f'<li class="{look}">{svg}<span class="dim">{for_html(line.label)}</span>')
    return f'<ul class="legend">{"</li>".join(entries)}</li></ul>'


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Of each of equal parts the lowest and the highest point, in their order."""
    if len(points) <= most:
        return list(points)
    count = most // 2
    kept = []
    for i in range(count):
        part = range(i * len(points) // count, (i + 1) * len(points) // count)
        ends = {min(part, key=lambda j: points[j][1]), max(part, key=lambda j: points[j][1])}
        kept += [points[j] for j in sorted(ends)]
    return kept


def _y_scale(values: Sequence[float], ends: tuple[float, float]) -> tuple[Scale, list[float]]:
    if min(values) > 0 and max(values) > 50 * min(values):
        return log_scale(values, ends, most=5)
    return linear_scale(values, ends, _room(values))


def _room(values: Sequence[float]) -> float:
    """Beside values that are all the same there is some room as well."""
    return 0.02 * max(map(abs, values)) or 0.5


def _curve(line: Line, points: Sequence[Point], place: Callable[[Point], Point]) -> str:
    places = [place(point) for point in points]
    look = f'class="curve {line.look} c{line.color}"'
    if line.look in _RADII:
        radius = _RADII[line.look]
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>' for x, y in places)
        return f"<g {look}>{dots}</g>"
    if line.look == "steps":
        corners = [(b[0], a[1]) for a, b in zip(places, places[1:], strict=False)]
        places = [p for pair in zip(places, [*corners, places[-1]], strict=True) for p in pair]
    return f'<polyline {look} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
