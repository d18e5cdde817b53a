"""Axes of SVG plots: scales, round ticks, grid lines, titles."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmptq.webpage.safe_text import for_html

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Axes:
    """The box of a plot, in units of its ``viewBox``.

    Args:
        width: Of the whole drawing.
        height: Likewise.
        left: Room beside the box, for the ticks' texts.
        right: Likewise.
        top: Room above the box, for the title of y.
        bottom: Room below it, for ticks and the title of x.
    """

    width: int
    height: int
    left: int = 46
    right: int = 12
    top: int = 22
    bottom: int = 40

    @property
    def across(self) -> tuple[float, float]:
        """Where x begins and ends."""
        return self.left, self.width - self.right

    @property
    def upward(self) -> tuple[float, float]:
        """Where y begins and ends."""
        return self.height - self.bottom, self.top

    def x_tick(self, x: float, text: str) -> str:
        """A grid line with its text."""
        bottom = self.height - self.bottom
        return (
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{bottom}"/>'
            f'<text class="tick" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{text}</text>'
        )

    def y_tick(self, y: float, text: str) -> str:
        """A grid line with its text."""
        left, right = self.across
        return (
            f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )

    def titles(self, x_title: str, y_title: str) -> str:
        """What is on the axes."""
        middle = sum(self.across) / 2
        return (
            f'<text class="axis" x="{middle:.0f}" y="{self.height - 6}" '
            f'text-anchor="middle">{for_html(x_title)}</text>'
            f'<text class="axis" x="{self.left}" y="{self.top - 8}">{for_html(y_title)}</text>'
        )


def log_scale(
    values: Sequence[float], ends: tuple[float, float], most: int = 7
) -> tuple[Scale, list[float]]:
    """Where positive values lie on a logarithmic axis, and its ticks.

    Args:
        values: At least one.
        ends: Where the axis begins and ends.
        most: Ticks.
    """
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.08 * (high - low), 0.05)
    low, high = low - room, high + room

    def place(value: float) -> float:
        return ends[0] + (math.log10(value) - low) / (high - low) * (ends[1] - ends[0])

    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < 3 else (1,)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
    inside = [tick for tick in ticks if tick > 0 and low <= math.log10(tick) <= high]
    if len(inside) < 2:  # less than a factor of two
        inside = round_steps(10**low, 10**high)
    return place, inside[:: math.ceil(len(inside) / most)]


def linear_scale(
    values: Sequence[float], ends: tuple[float, float], least_room: float = 0.5
) -> tuple[Scale, list[float]]:
    """Where values lie on a linear axis, and its ticks.

    Args:
        values: At least one.
        ends: Where the axis begins and ends.
        least_room: That the axis goes beyond the values at least, in their units.
    """
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), least_room)
    low, high = low - room, high + room

    def place(value: float) -> float:
        return ends[0] + (value - low) / (high - low) * (ends[1] - ends[0])

    return place, round_steps(low, high)


def round_steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two values, about five."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    # Digits below the step are the sums' errors.
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]
