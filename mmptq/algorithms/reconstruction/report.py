"""Logs, plots and the summary of a reconstruction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmptq.engine.context import Record
from mmptq.engine.units.reconstruction import Row, RowLog
from mmptq.fileio import atomic_write, save_json, save_text


@dataclass(frozen=True)
class UnitReport:
    """One line of the summary.

    Args:
        name: The unit.
        layers: Number of quantized layers in it.
        before: Its loss with the ranges it started from, rounding to nearest.
        after: Its loss at the end, as it is saved.
        stops: How often the bit-width was lowered.
        forced: How many of these the budget forced.
        seconds: Spent on the unit, without capturing its data.
        maps: ``'crops'``, or why the unit was adjusted on whole maps; empty without crops.
    """

    name: str
    layers: int
    before: float
    after: float
    stops: int
    forced: int
    seconds: float
    maps: str = ""


class UnitLog(RowLog):
    """Rows of one unit, written down as they come, to a file and as curves.

    Args:
        path: The file.
        tag: Of the unit's curves.
        record: Gets each row's numbers, see :class:`mmptq.engine.context.Record`.
    """

    def __init__(self, path: Path, tag: str, record: Record) -> None:
        super().__init__()
        self._path, self._tag, self._record = path, tag, record

    def restart(self, rows: Sequence[Row]) -> None:
        """As in the base class; what a killed run wrote beyond its snapshot is removed."""
        super().restart(rows)
        if is_main_process():
            save_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))

    def add(self, row: Row) -> None:
        """As in the base class."""
        super().add(row)
        if is_main_process():
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        numbers = {k: float(v) for k, v in row.items() if isinstance(v, int | float)}
        self._record(self._tag, numbers, int(numbers.pop("iteration")))


class Report:
    """Writes ``<folder>/<step>/<unit>.jsonl`` and ``.png``, and ``<folder>/<step>/summary.*``.

    Args:
        folder: In the work directory.
        step: Name of the step.
        record: Gets the units' curves.
    """

    def __init__(self, folder: Path, step: str, record: Record) -> None:
        self._folder, self._step, self._record = folder / step, step, record

    def log(self, unit: str) -> UnitLog:
        """The log of a unit that begins."""
        return UnitLog(self._folder / f"{unit}.jsonl", f"{self._step}/{unit}", self._record)

    def unit(self, report: UnitReport, rows: Sequence[Row]) -> None:
        """Tell of a finished unit, and plot it."""
        if not is_main_process():
            return
        ratio = report.after / report.before if report.before else 1.0
        print_log(
            f"{self._step} {report.name}: loss {report.before:.4g} -> {report.after:.4g} "
            f"({ratio:.2f} of it) in {report.seconds:.1f} s"
            + (f" on {report.maps}" if report.maps else ""),
            logger="current",
        )
        if rows:
            with atomic_write(self._folder / f"{report.name}.png") as file:
                plot_unit(report.name, rows).savefig(file, format="png")

    def summarize(self, reports: Sequence[Mapping[str, Any]]) -> None:
        """Write the table of all units."""
        if not is_main_process():
            return
        text = summary_table([UnitReport(**report) for report in reports])
        save_text(self._folder / "summary.txt", text)
        save_json(self._folder / "summary.json", list(reports))
        print_log(f"{self._step}:\n{text}", logger="current")


def summary_table(reports: Sequence[UnitReport]) -> str:
    """All units in columns, and their sums."""
    width = max([len(report.name) for report in reports], default=4)
    head = f"{'unit':{width}}  layers      start        end   ratio  stops  forced  seconds"
    head += "  maps" if any(report.maps for report in reports) else ""
    lines = [head, "-" * len(head)]
    for r in reports:
        ratio = r.after / r.before if r.before else 1.0
        lines.append(
            f"{r.name:{width}}  {r.layers:6d}  {r.before:9.4g}  {r.after:9.4g}  {ratio:6.3f}"
            f"  {r.stops:5d}  {r.forced:6d}  {r.seconds:7.1f}" + (f"  {r.maps}" if r.maps else "")
        )
    stops, forced = sum(r.stops for r in reports), sum(r.forced for r in reports)
    layers, seconds = sum(r.layers for r in reports), sum(r.seconds for r in reports)
    lines.append(
        f"{'all':{width}}  {layers:6d}  {'':9}  {'':9}  {'':6}  {stops:5d}  {forced:6d}"
        f"  {seconds:7.1f}"
    )
    return "\n".join(lines) + "\n"


def plot_unit(name: str, rows: Sequence[Row]) -> Figure:
    """Loss (and sharpness) over iterations; below, where it moves, the bit-width."""
    moves = any("b_w" in row for row in rows)
    # Without pyplot: no global state, no display.
    figure = Figure(figsize=(7, 6 if moves else 3.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    upper = figure.add_subplot(2 if moves else 1, 1, 1)
    for key, label, style in (
        ("loss", "mini-batch loss", "."),
        ("R", "R, probe images", "-"),
        ("S", "sharpness S", "o"),
        ("instant_S", "instant sharpness", "x"),
    ):
        points = [(row["iteration"], row[key]) for row in rows if key in row]
        if points:
            upper.plot(*zip(*points, strict=True), style, label=label, markersize=4)
    upper.set(title=name, ylabel="loss")
    upper.set_yscale("symlog", linthresh=max(_smallest(rows), 1e-12))
    upper.legend(fontsize="small")
    if moves:
        _plot_bits(figure.add_subplot(2, 1, 2, sharex=upper), rows)
    figure.axes[-1].set_xlabel("iteration")
    return figure


def _plot_bits(axes: Any, rows: Sequence[Row]) -> None:
    rows = [row for row in rows if "b_w" in row]
    for key, label in (("b_w", "weights"), ("b_a", "activations")):
        points = [(row["iteration"], row[key]) for row in rows if row[key] is not None]
        if points:
            axes.step(*zip(*points, strict=True), where="post", label=label)
    forced = [(row["iteration"], row["b_w"]) for row in rows if row.get("forced")]
    if forced:
        axes.plot(*zip(*forced, strict=True), "v", label="forced")
    axes.set(ylabel="bit-width")
    axes.legend(fontsize="small")


def _smallest(rows: Sequence[Row]) -> float:
    return min((row["R"] for row in rows if row.get("R", 0.0) > 0.0), default=1.0)
