"""The picture of a sensitivity analysis: bars of quantizers and of stages."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mmptq.analysis.figures import new_figure, save_figure
from mmptq.analysis.sensitivity.measure import SensitivityReport
from mmptq.analysis.sensitivity.record import Sensitivity, sum_by_stage, worst_first
from mmptq.models.stages import in_order

SHOWN = 30  # quantizers, the worst
_LONGEST = 44  # characters of a name
_ROW = 0.19  # inches
# Distinct, in the order of stages; repeated where there are more.
_COLOURS = (
    "#4e79a7", "#76b7b2", "#59a14f", "#8cd17d", "#b6992d", "#edc948", "#f28e2b",
    "#e15759", "#b07aa1", "#9d7660", "#ff9da7", "#79706e", "#d4a6c8", "#86bcb6",
)  # fmt: skip


def draw_sensitivity(reports: Mapping[str, SensitivityReport], path: Path) -> None:
    """The worst quantizers above, the stages below, one column a bit-width.

    A filled bar is what was measured with it alone quantized, a line across the estimate. Weights
    are hatched.

    Args:
        reports: By bit-width.
        path: Of the PNG.
    """
    every = [record for report in reports.values() for record in report.records]
    stages = in_order(record.stage for record in every)
    colours = {stage: _COLOURS[i % len(_COLOURS)] for i, stage in enumerate(stages)}
    rows = min(SHOWN, max(len(report.records) for report in reports.values()))
    heights = [_ROW * rows + 0.9, _ROW * len(stages) + 0.9]
    figure = new_figure(6.4 * len(reports), sum(heights) + 0.7)
    grid = figure.add_gridspec(2, len(reports), height_ratios=heights)
    for i, (label, report) in enumerate(reports.items()):
        _draw_quantizers(figure.add_subplot(grid[0, i]), label, report, colours)
        _draw_stages(figure.add_subplot(grid[1, i]), report, colours)
    _legend(figure, colours)
    save_figure(figure, path)


def _draw_quantizers(
    axes: Axes, label: str, report: SensitivityReport, colours: Mapping[str, str]
) -> None:
    records = worst_first(report.records)[:SHOWN]
    places = np.arange(len(records))
    values = _drawable([_measured(record) for record in records])
    axes.barh(
        places,
        values,
        color=[colours[record.stage] for record in records],
        hatch=["////" if record.which == "weight" else "" for record in records],
        edgecolor="white",
        linewidth=0.0,
    )
    axes.plot(_drawable([r.projected for r in records]), places, "k|", markersize=7)
    names = [shortened(record.name) for record in records]
    axes.set_yticks(places, names, fontsize=7)
    axes.set_ylim(len(records) - 0.4, -0.6)
    total = "" if report.distance is None else f"; all quantized: {report.distance:.3g}"
    axes.set_title(f"{label}: distance of the outputs, one quantized{total}", fontsize=8)
    _scale(axes)


def _draw_stages(axes: Axes, report: SensitivityReport, colours: Mapping[str, str]) -> None:
    sums = sum_by_stage(report.records)
    places = np.arange(len(sums))
    values = _drawable([s.projected if s.alone is None else s.alone for s in sums])
    axes.barh(places, values, color=[colours[s.stage] for s in sums])
    axes.plot(_drawable([s.projected for s in sums]), places, "k|", markersize=7)
    axes.set_yticks(places, [f"{s.stage} ({s.quantizers})" for s in sums], fontsize=7)
    axes.set_ylim(len(sums) - 0.4, -0.6)
    axes.set_title("summed by stage (quantizers)", fontsize=8)
    _scale(axes)


def _legend(figure: Figure, colours: Mapping[str, str]) -> None:
    handles = [Patch(color=colour, label=stage) for stage, colour in colours.items()]
    handles += [
        Patch(facecolor="#999999", hatch="////", edgecolor="white", label="weight"),
        Patch(facecolor="#999999", label="activation"),
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=7,
        fontsize=7,
        title="bar: measured alone; line: second-order estimate",
        title_fontsize=7,
    )


def shortened(name: str) -> str:
    """``name`` with its middle left out where it is long."""
    if len(name) <= _LONGEST:
        return name
    front = _LONGEST // 3
    return f"{name[:front]}...{name[front + 3 - _LONGEST :]}"


def _measured(record: Sensitivity) -> float:
    return record.projected if record.alone is None else record.alone


def _drawable(values: Sequence[float]) -> np.ndarray:
    """What is not finite is as long as the longest."""
    array = np.array(values, dtype=float)
    finite = array[np.isfinite(array)]
    return np.where(np.isfinite(array), array, finite.max() if finite.size else 1.0)


def _scale(axes: Axes) -> None:
    """From zero, for the sake of lengths that can be compared; few labels, so that none overlap."""
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
