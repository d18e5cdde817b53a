"""``tools/quantize.py --pareto``: accuracy over size and over bit operations."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from rich import box
from rich.table import Table

from mmptq.analysis import BitWidths
from mmptq.analysis.figures import new_figure, save_figure
from mmptq.errors import ConfigError
from mmptq.evaluation import ResultRow, render
from mmptq.evaluation.result_table import format_metric, in_points, metric_keys, title
from mmptq.fileio import save_json
from mmptq.models import QConfig
from mmptq.runner.settings import CalibrationSettings
from mmptq.runner.sweep import BUDGETS, UNIFORM, UNIFORM_CURVE, SweepRun, run_sweep, sweep_runs

Point = Mapping[str, Any]


def add_pareto_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--pareto",
        nargs="*",
        metavar="BITS",
        help="sweep budgets of MixedPrecision, what the model costs with these bits (default: "
        f"{' '.join(BUDGETS)}), beside uniform bits; draws pareto.png. A recipe without "
        "MixedPrecision gets one in front",
    )
    parser.add_argument(
        "--uniform",
        nargs="*",
        default=list(UNIFORM),
        metavar="BITS",
        help=f"with --pareto: uniform bits to compare with (default: {' '.join(UNIFORM)})",
    )


def pareto(cfg: Config, budgets: Sequence[str], uniform: Sequence[str]) -> None:
    """Do all runs; write ``pareto.json`` and ``pareto.png`` after each, and print the table.

    Args:
        cfg: Complete.
        budgets: Bits; empty for the default.
        uniform: Bits.

    Raises:
        ConfigError: One of them is none.
    """
    for option, bits in (("--pareto", budgets), ("--uniform", uniform)):
        for text in bits:
            try:
                BitWidths.parse(text)
            except ConfigError as error:
                raise ConfigError(f"{option} {text}: {error}") from error
    runs = sweep_runs(cfg, budgets or BUDGETS, uniform)
    for run in runs:  # what is wrong with one shows before the first has begun
        check_run(run)
    folder, points = Path(cfg.work_dir), list[Point]()
    done, reference = list[ResultRow](), None
    for number, (run, rows) in enumerate(run_sweep(runs), start=1):
        reference = reference or next((row for row in rows if row.is_float and row.metrics), None)
        done += rows
        points.append({"run": run.name, "curve": run.curve, "like": run.like, **rows[-1].to_dict()})
        if not is_main_process():
            continue
        # A model that detects nothing has no metrics; those before or after it may.
        key = next(iter(metric_keys(done)), None)
        content = {"metric": key, "float": reference and reference.to_dict(), "points": points}
        save_json(folder / "pareto.json", content)
        draw_pareto(points, reference, key, folder / "pareto.png")
        print_log(f"--pareto: {number} of {len(runs)} runs done", logger="current")
    if is_main_process():
        print_log(render(pareto_table(points, reference, key)))
        print_log(f"{folder / 'pareto.png'}, {folder / 'pareto.json'}")


def pareto_table(points: Sequence[Point], reference: ResultRow | None, key: str | None) -> Table:
    """A row a run, as they were done."""
    heading = "-" if key is None else title(key)
    table = Table("bits", "budget", "curve", box=box.SIMPLE_HEAD)
    for text in (heading, "vs float", "size MB", "GBOPs"):
        table.add_column(text, justify="right")
    best = None if reference is None or key is None else reference.metrics.get(key)
    if reference is not None:
        size, gbops = f"{reference.size_mb:.3g}", f"{reference.gbops:.4g}"
        table.add_row("float", "-", "-", format_metric(key or "", best), "-", size, gbops)
    for point in points:
        value = None if key is None else point.get(key)
        drop = "-"
        if best is not None and value is not None:
            drop = f"{in_points(value - best, key or ''):+.1f}"
        bits = f"W{point['w_bits']:g}A{point['a_bits']:g}"
        budget = "-" if point["curve"] == UNIFORM_CURVE else point["like"]
        costs = (f"{point['size_mb']:.3g}", f"{point['gbops']:.4g}")
        table.add_row(bits, budget, point["curve"], format_metric(key or "", value), drop, *costs)
    return table


def draw_pareto(
    points: Sequence[Point], reference: ResultRow | None, key: str | None, path: Path
) -> None:
    """The metric over size, and over bit operations.

    Args:
        points: Of runs.
        reference: The float model's row, drawn as a line.
        key: The metric.
        path: Of the PNG.
    """
    figure = new_figure(9.0, 3.8)
    for column, (cost, label) in enumerate((("size_mb", "size, MB"), ("gbops", "GBOPs"))):
        axes = figure.add_subplot(1, 2, column + 1)
        _draw_curves(axes, points, cost, key)
        if reference is not None and key in reference.metrics:
            axes.axhline(in_points(reference.metrics[key], key), color="0.5", ls=":", label="float")
        axes.set(xlabel=label, ylabel="" if key is None else title(key))
        if column == 0:
            axes.legend(fontsize=7)
    save_figure(figure, path)


def _draw_curves(axes: Axes, points: Sequence[Point], cost: str, key: str | None) -> None:
    for curve in dict.fromkeys(point["curve"] for point in points):
        found = [point for point in points if point["curve"] == curve]
        found.sort(key=lambda point: point[cost])
        x = [point[cost] for point in found]
        y = [in_points(point.get(key or "") or 0.0, key or "") for point in found]
        axes.plot(x, y, "o" if curve == UNIFORM_CURVE else "o-", markersize=4, label=curve)
        if curve == UNIFORM_CURVE:
            for a, b, point in zip(x, y, found, strict=True):
                axes.annotate(
                    point["like"], (a, b), (3, -8), textcoords="offset points", fontsize=6
                )
    axes.set_xscale("log")


def check_run(run: SweepRun) -> None:
    """Build what can be built of a run's config without its data.

    Raises:
        ConfigError: It cannot work.
    """
    QConfig.parse(run.config.qconfig)
    CalibrationSettings.parse(run.config.calib_cfg)
