"""The picture of an allocation: bits of each weight and each activation, from image to heads."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmptq.algorithms.mixed_precision.groups import Group
from mmptq.fileio import atomic_write
from mmptq.models.stages import in_order

Colour = tuple[float, float, float, float]

_BAR = 0.09  # inches


def draw_bits(groups: Sequence[Group], bits: Sequence[float], path: Path) -> None:
    """A bar a group, coloured by stage, pale where the bits were fixed.

    Args:
        groups: Of the model.
        bits: Of each.
        path: Of the PNG.
    """
    colours = {
        stage: colormaps["tab20"](i % 20)
        for i, stage in enumerate(in_order(group.stage for group in groups))
    }
    panels = {"weight": "bits of weights", "act": "bits of activations"}
    longest = max(sum(group.which == which for group in groups) for which in panels)
    figure = Figure(figsize=(max(_BAR * longest, 6.0) + 1.0, 5.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for row, (which, label) in enumerate(panels.items(), start=1):
        pairs = [(g, b) for g, b in zip(groups, bits, strict=True) if g.which == which]
        axes = figure.add_subplot(2, 1, row)
        _draw(axes, pairs, colours, label)
    handles = [Patch(color=colour, label=stage) for stage, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=7, frameon=False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png")


def _draw(
    axes: Axes,
    pairs: Sequence[tuple[Group, float]],
    colours: Mapping[str, Colour],
    label: str,
) -> None:
    for place, (group, num_bits) in enumerate(pairs):
        alpha = 0.35 if group.fixed else 1.0
        axes.bar(place, num_bits, width=0.9, color=colours[group.stage], alpha=alpha)
    axes.set(ylabel=label, xlim=(-0.6, max(len(pairs), 1) - 0.4))
    axes.set_xticks([])
    axes.grid(axis="y", linewidth=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
