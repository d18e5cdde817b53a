"""Charts as SVG, by hand: the same bytes on every machine, readable on light and on dark pages."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

PANEL, HEIGHT, LEGEND, MARGIN = 290, 250, 34, 12
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 34, 44  # of a panel, around its plot
TICKS = 5
ASIDE = 5.0
LETTER = 6.6  # mean width of a letter of 12 px
STYLE = """
  .page { fill: #ffffff } .ink { fill: #24292f } .soft { fill: #57606a }
  .grid { stroke: #d8dee4 } .float { stroke: #57606a; stroke-dasharray: 5 4 }
  .c0 { --c: #0969da } .c1 { --c: #bc4c00 } .c2 { --c: #1a7f37 } .c3 { --c: #8250df }
  .c4 { --c: #9a6700 } .c5 { --c: #bf3989 } .c6 { --c: #57606a }
  circle { fill: var(--c) } polyline { stroke: var(--c); stroke-width: 2; fill: none }
  text { font: 12px system-ui, sans-serif } .title { font-weight: 600; font-size: 13px }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .ink { fill: #e6edf3 } .soft { fill: #9198a1 }
    .grid { stroke: #3d444d } .float { stroke: #9198a1 }
    .c0 { --c: #4493f8 } .c1 { --c: #f0883e } .c2 { --c: #3fb950 } .c3 { --c: #ab7df8 }
    .c4 { --c: #d29922 } .c5 { --c: #db61a2 } .c6 { --c: #9198a1 }
  }
"""

Values = Sequence[float | None]


class Panel(NamedTuple):
    """One plot.

    Args:
        title: Above it.
        places: What stands below the x axis.
        series: Values at these places by name; None where nothing was measured.
        line: A dashed level, the float model's.
        joined: Whether the points of a series are joined, as where places are an order.
    """

    title: str
    places: Sequence[str]
    series: dict[str, Values]
    line: float | None = None
    joined: bool = True


def chart(panels: Sequence[Panel], summary: str) -> str:
    """``panels`` side by side, over one legend of all their series.

    Args:
        panels: Of any series; one name has one colour in all of them.
        summary: What is seen, for those who cannot see it.
    """
    names = [*dict.fromkeys(name for panel in panels for name in panel.series)]
    width = PANEL * len(panels) + 2 * MARGIN
    height = HEIGHT + LEGEND + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(summary)}</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}" rx="6"/>',
    ]
    for index, panel in enumerate(panels):
        parts.append(f'<g transform="translate({MARGIN + index * PANEL} {MARGIN})">')
        parts += _plot(panel, names)
        parts.append("</g>")
    parts += _legend(names, any(panel.line is not None for panel in panels), height)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _plot(panel: Panel, names: Sequence[str]) -> list[str]:
    low, high, step = _axis(panel)
    bottom = HEIGHT - BOTTOM
    across = (PANEL - LEFT - RIGHT) / len(panel.places)

    def x_of(index: int) -> float:
        return LEFT + (index + 0.5) * across

    def y_of(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - TOP)

    parts = [f'<text class="ink title" x="{LEFT}" y="16">{escape(panel.title)}</text>']
    for number in range(round((high - low) / step) + 1):
        value = low + number * step
        y = y_of(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{PANEL - RIGHT}"/>')
        parts.append(
            f'<text class="soft" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    if panel.line is not None:
        parts.append(f'<path class="float" d="M{LEFT} {y_of(panel.line):.1f}H{PANEL - RIGHT}"/>')
    for index, place in enumerate(panel.places):
        for number, word in enumerate(place.split("\n")):
            parts.append(
                f'<text class="soft" x="{x_of(index):.1f}" y="{bottom + 18 + 15 * number}" '
                f'text-anchor="middle">{escape(word)}</text>'
            )
    for number, (name, values) in enumerate(panel.series.items()):
        # Points of one place that are not joined stand side by side.
        aside = 0.0 if panel.joined else ASIDE * (number - (len(panel.series) - 1) / 2)
        found = [(x_of(i) + aside, v) for i, v in enumerate(values) if v is not None]
        parts.append(f'<g class="c{names.index(name)}">')
        if panel.joined:
            line = " ".join(f"{x:.1f},{y_of(v):.1f}" for x, v in found)
            parts.append(f'<polyline points="{line}"/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y_of(v):.1f}" r="4"><title>{escape(name)}: {v:.1f}</title>'
            "</circle>"
            for x, v in found
        ]
        parts.append("</g>")
    return parts


def _axis(panel: Panel) -> tuple[float, float, float]:
    """Both ends, and the distance of two ticks: round ones around all values."""
    values = [v for series in panel.series.values() for v in series if v is not None]
    values += [panel.line] if panel.line is not None else []
    wanted = (max(values) - min(values)) / TICKS
    steps = [digit * 10.0**power for power in range(-2, 3) for digit in (1, 2, 5)]
    step = min(s for s in steps if s >= wanted)
    low = step * (min(values) // step)
    high = -step * (-max(values) // step)
    return low, high if high > low else low + step, step


def _legend(names: Sequence[str], with_float: bool, height: int) -> list[str]:
    parts, x, y = [], float(MARGIN + LEFT), height - MARGIN - 8
    for index, name in enumerate(names):
        parts.append(f'<g class="c{index}"><circle cx="{x:.1f}" cy="{y - 4}" r="4"/></g>')
        parts.append(f'<text class="ink" x="{x + 10:.1f}" y="{y}">{escape(name)}</text>')
        x += 30 + LETTER * len(name)
    if with_float:
        parts.append(f'<path class="float" d="M{x:.1f} {y - 4}h24"/>')
        parts.append(f'<text class="ink" x="{x + 30:.1f}" y="{y}">float</text>')
    return parts
