"""Accuracy over cost as SVG: readable as it stands, with more in the hands of ``page.js``."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmptq.leaderboard.pareto import pareto_front
from mmptq.leaderboard.safe_text import for_html

WIDTH, HEIGHT = 380, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
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
    x_of, x_ticks = _log_axis([p.x for p in points], LEFT, WIDTH - RIGHT)
    ends = [v for p in points for v in (p.low, p.y, p.high) if v is not None]
    y_of, y_ticks = _linear_axis(ends, HEIGHT - BOTTOM, TOP)
    front = [points[i] for i in pareto_front([(p.x, p.y) for p in points])]
    line = " ".join(f"{x_of(p.x):.1f},{y_of(p.y):.1f}" for p in front)
    label = for_html(f"{y_title} over {x_title}")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
        *(_x_tick(x_of(tick), f"{tick:g}") for tick in x_ticks),
        *(_y_tick(y_of(tick), f"{tick:g}") for tick in y_ticks),
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}" '
        f'text-anchor="middle">{for_html(x_title)}</text>',
        f'<text class="axis" x="{LEFT + 4}" y="{TOP + 10}">{for_html(y_title)}</text>',
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


def _x_tick(x: float, text: str) -> str:
    bottom = HEIGHT - BOTTOM
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
        f'<text class="tick" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{text}</text>'
    )


def _y_tick(y: float, text: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _log_axis(
    values: Sequence[float], start: float, end: float
) -> tuple[Callable[[float], float], list[float]]:
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.08 * (high - low), 0.05)
    low, high = low - room, high + room

    def place(value: float) -> float:
        return start + (math.log10(value) - low) / (high - low) * (end - start)

    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < 3 else (1,)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
    inside = [tick for tick in ticks if tick > 0 and low <= math.log10(tick) <= high]
    if len(inside) < 2:  # less than a factor of two
        inside = _round_steps(10**low, 10**high)
    return place, inside[:: math.ceil(len(inside) / 7)]


def _linear_axis(
    values: Sequence[float], start: float, end: float
) -> tuple[Callable[[float], float], list[float]]:
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 0.5)
    low, high = low - room, high + room

    def place(value: float) -> float:
        return start + (value - low) / (high - low) * (end - start)

    return place, _round_steps(low, high)


def _round_steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two values, about five."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]
