"""The analyses of tools/analyze.py: arguments, measurement at one bit-width, picture and table."""

import argparse
import contextlib
import math
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from mmptq.analysis import (
    ModelLoss,
    figures,
    measure_landscape,
    measure_lp_errors,
    measure_over_p,
    measure_step_hessian,
    measure_step_surface,
    set_lp_ranges,
    symmetric_axis,
)
from mmptq.analysis.hessian import Curvature
from mmptq.engine import CalibrationContext, float_form
from mmptq.errors import ConfigError
from mmptq.evaluation import ResultRow
from mmptq.evaluation.result_table import metric_keys
from mmptq.runner import CalibrationRunner

POWERS = (2.0, 2.5, 3.0, 3.5, 4.0)  # of LAPQ's Fig. 4
SHARES = np.linspace(0.05, 1.0, 96).tolist()
RESOLVED = 0.5  # error of a Hessian above which it says nothing
Results = dict[str, dict[str, Any]]  # by bit-width
Arguments = argparse.Namespace


@dataclass
class Run:
    """One bit-width's model.

    Args:
        args: The command line.
        label: Of the bit-width.
        runner: Set up.
        context: Of its prepared model.
    """

    args: Arguments
    label: str
    runner: CalibrationRunner
    context: CalibrationContext

    @property
    def objective(self) -> dict[str, str]:
        """The loss's config."""
        return {"type": self.args.objective}

    def model_loss(self) -> ModelLoss:
        """Loss of the model as it stands."""
        return ModelLoss(self.context, self.objective, self.args.cache_gb)


class Analysis(ABC):
    """One sub-command.

    ``summary`` is its line of help, ``bits`` the default bit-widths.
    """

    summary: str
    bits: str

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Arguments beside the shared ones."""

    def check(self, args: Arguments) -> None:  # noqa: B027
        """Refuse what cannot work before anything is read.

        Raises:
            ConfigError: Names the argument.
        """

    @abstractmethod
    def measure(self, run: Run, results: Results) -> None:
        """Add what is found at one bit-width to ``results``."""

    @abstractmethod
    def show(self, args: Arguments, results: Results, path: Path) -> Table:
        """Draw the picture and return the table."""


class Surface(Analysis):
    """Loss over two steps."""

    summary = "loss over two steps"
    bits = "4/4 3/3 2/2"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which steps, and the grid."""
        add = parser.add_argument
        add(
            "--tensors",
            nargs=2,
            metavar="PATTERN",
            help="names of two steps, such as backbone.layer1.0.conv1.act (default: the first two "
            "activations among those with the fewest bits)",
        )
        add_points(parser, 15, "of the grid in each direction")
        add(
            "--span",
            nargs=2,
            type=float,
            default=(0.4, 2.0),
            help="least and largest multiplier of the MMSE steps (default: 0.4 2)",
        )

    def check(self, args: Arguments) -> None:
        """The grid."""
        check_points(args, 3)
        check_range("--span", args.span)

    def measure(self, run: Run, results: Results) -> None:
        """One column of the picture."""
        args = run.args
        grid = even_grid(args.span, args.points)
        results[run.label] = measure_step_surface(
            run.context, args.tensors, grid, run.objective, f"surface {run.label}", args.cache_gb
        )

    def show(self, args: Arguments, results: Results, path: Path) -> Table:
        """Contours and reliefs."""
        figures.draw_surfaces(results, path)
        table = make_table("bits", "steps", "loss at MMSE", "lowest on the grid", "at multipliers")
        for label, found in results.items():
            place = ", ".join(f"{m:.2f}" for m in found["best_multipliers"])
            losses = (f"{found[key]:.4f}" for key in ("at_mmse", "least"))
            table.add_row(label, "\n".join(found["names"]), *losses, place)
        return table


class MetricOverP(Analysis):
    """Metric or loss over p."""

    summary = "metric (or loss) over p for ranges of least L_p error"
    bits = "4/4 2/2"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The grid, and what is measured."""
        add_p_grid(parser, 5)
        parser.add_argument("--loss", action="store_true", help="the loss in place of the metric")
        parser.add_argument(
            "--tensor",
            default="*.act",
            metavar="PATTERN",
            help="whose L_p errors are drawn (default: the first activation with the fewest bits)",
        )

    def check(self, args: Arguments) -> None:
        """The grid."""
        check_points(args, 1)
        check_range("--p-range", args.p_range)

    def measure(self, run: Run, results: Results) -> None:
        """One line of the picture."""
        args, name = run.args, f"p {run.label}"
        errors = measure_lp_errors(run.context, args.tensor, POWERS, SHARES)
        measure = run.model_loss() if args.loss else lambda: metric(run.runner)
        what = run.objective if args.loss else {"type": "metric"}
        found = measure_over_p(run.context, p_grid(args), measure, "metric_p.jsonl", what, name)
        results[run.label] = {**found, "errors": errors}

    def show(self, args: Arguments, results: Results, path: Path) -> Table:
        """Lines over p, and errors over the step."""
        figures.draw_over_p(results, "loss" if args.loss else "metric", path)
        table = make_table("bits", *(f"p = {p:.3g}" for p in p_grid(args)))
        for label, found in results.items():
            table.add_row(label, *(f"{value:.4g}" for value in found["values"]))
        return table


class LpPath(Analysis):
    """Loss along the L_p path."""

    summary = "loss along the L_p path, with the fitted parabola and its vertex"
    bits = "4/4"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The grid."""
        add_p_grid(parser, 10)

    def check(self, args: Arguments) -> None:
        """The grid."""
        check_points(args, 3)
        check_range("--p-range", args.p_range)

    def measure(self, run: Run, results: Results) -> None:
        """One panel of the picture."""
        loss, name = run.model_loss(), f"L_p path {run.label}"
        grid, log = p_grid(run.args), "p_path.jsonl"
        results[run.label] = measure_over_p(
            run.context, grid, loss, log, run.objective, name, at_vertex=True
        )

    def show(self, args: Arguments, results: Results, path: Path) -> Table:
        """Points and parabola."""
        figures.draw_p_path(results, path)
        headings = ("loss at first p", "best measured", "at p", "vertex", "loss there")
        table = make_table("bits", *headings)
        for label, found in results.items():
            values, vertex = np.array(found["values"]), found["vertex"]
            best = int(np.where(np.isfinite(values), values, math.inf).argmin())
            cells = [f"{values[0]:.4f}", f"{values[best]:.4f}", f"{found['p'][best]:.2f}"]
            there = [] if vertex is None else [f"{vertex:.2f}", f"{found['vertex_value']:.4f}"]
            table.add_row(label, *cells, *(there or ["-", "-"]))
        return table


class Hessian(Analysis):
    """Hessian in the steps."""

    summary = "Hessian of the loss in the steps, and Gaussian curvature"
    bits = "4/4 2/2"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which steps, and the differences."""
        add = parser.add_argument
        add(
            "--tensors",
            default="*",
            metavar="PATTERN",
            help="names of steps, which end in .weight or .act (default: all)",
        )
        add(
            "--max-tensors",
            type=int,
            default=15,
            help="spread evenly over those that fit, 0 for all; n steps need about 4 n^2 "
            "evaluations (default: %(default)s)",
        )
        add(
            "--step",
            type=float,
            default=0.2,
            help="of the differences, relative; repeated with twice as much (default: %(default)s)",
        )

    def check(self, args: Arguments) -> None:
        """The differences."""
        if not 0.0 < args.step < 0.5:
            raise ConfigError(f"--step {args.step:g}: must lie between 0 and 0.5")
        if args.max_tensors < 0:
            raise ConfigError(f"--max-tensors {args.max_tensors}: must be 0 (all) or more")

    def measure(self, run: Run, results: Results) -> None:
        """One heat map."""
        args, name = run.args, f"Hessian {run.label}"
        limit = args.max_tensors or None
        results[run.label] = measure_step_hessian(
            run.context, args.tensors, limit, args.step, run.objective, name, args.cache_gb
        )

    def show(self, args: Arguments, results: Results, path: Path) -> Table:
        """Heat maps; K at both step sizes, so that one sees what it is worth."""
        figures.draw_hessians(results, path)
        sizes = [f"{args.step:g}", f"{2 * args.step:g}"]
        pairs = [(unit, size) for unit in ("relative", "raw") for size in sizes]
        headings = (f"K, {unit} steps, h = {size}" for unit, size in pairs)
        table = make_table("bits", "steps", "loss", "error of H", "coupling", *headings)
        for label, found in results.items():
            curvatures = (str(Curvature(**found["K"][size][unit])) for unit, size in pairs)
            error, steps = f"{100 * found['relative_error']:.0f} %", str(len(found["names"]))
            cells = (f"{found['loss']:.4f}", error, f"{found['coupling']:.3f}")
            table.add_row(label, steps, *cells, *curvatures)
        if any(found["relative_error"] > RESOLVED for found in results.values()):
            table.caption = (
                "the two step sizes disagree: rounding noise hides the curvature; use more "
                "--images, a larger --step, or fewer quantized layers"
            )
        return table


class Landscape(Analysis):
    """Loss over a plane of weights."""

    summary = "loss over two random filter-normalised directions of the weights"
    bits = "8/8 4/4 3/3 2/2"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The grid."""
        add_points(parser, 15, "of the grid in each direction, odd")
        parser.add_argument(
            "--radius",
            type=float,
            default=0.5,
            help="at 1 every filter moves by its own length (default: %(default)s)",
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="of the two directions (default: %(default)s)"
        )

    def check(self, args: Arguments) -> None:
        """The grid."""
        check_points(args, 3)
        if args.points % 2 == 0:
            raise ConfigError(f"--points {args.points}: must be odd, so that one is the centre")
        if not 0.0 < args.radius < math.inf:
            raise ConfigError(f"--radius {args.radius:g}: must be greater than 0")

    def measure(self, run: Run, results: Results) -> None:
        """One column of the picture; the float model, too, the first time."""
        args, context = run.args, run.context
        set_lp_ranges(context, 2.0)
        loss, axis = run.model_loss(), symmetric_axis(args.radius, args.points)
        if not results:  # the float model is the same under all bit-widths
            with float_form(context.model):
                float_ = measure_landscape(context, loss, axis, args.seed, "landscape float")
                results["float"] = float_
        name = f"landscape {run.label}"
        results[run.label] = measure_landscape(context, loss, axis, args.seed, name)

    def show(self, args: Arguments, results: Results, path: Path) -> Table:
        """Contours and reliefs."""
        figures.draw_landscapes(results, path)
        keys = ("centre", "mean_rise", "sharpness", "raggedness")
        table = make_table("model", "loss at the centre", "mean rise", "sharpness", "raggedness")
        for label, found in results.items():
            table.add_row(label, *(f"{found[key]:.4g}" for key in keys))
        return table


def add_points(parser: argparse.ArgumentParser, default: int, what: str) -> None:
    parser.add_argument("--points", type=int, default=default, help=f"{what} (default: {default})")


def add_p_grid(parser: argparse.ArgumentParser, points: int) -> None:
    add_points(parser, points, "values of p")
    parser.add_argument(
        "--p-range",
        nargs=2,
        type=float,
        default=(2.0, 4.0),
        help="least and largest p (default: 2 4)",
    )


def p_grid(args: Arguments) -> list[float]:
    return even_grid(args.p_range, args.points)


def even_grid(bounds: tuple[float, float], points: int) -> list[float]:
    return np.linspace(bounds[0], bounds[1], points).tolist()


def check_points(args: Arguments, least: int) -> None:
    if args.points < least:
        raise ConfigError(f"--points {args.points}: must be {least} or more")


def check_range(key: str, bounds: tuple[float, float]) -> None:
    low, high = bounds
    if not 0.0 < low < high < math.inf:
        raise ConfigError(f"{key} {low:g} {high:g}: must be 0 < first < second")


def make_table(*headings: str) -> Table:
    table = Table()
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left")
    return table


def metric(runner: CalibrationRunner) -> float:
    """The main metric of the model as it is now, without what pycocotools prints."""
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        row = ResultRow("analysis", "-", 32, 32, metrics=runner.evaluate("analysis"))
    keys = metric_keys([row])
    return row.metrics[keys[0]] if keys else 0.0  # CocoMetric: none where nothing is found


ANALYSES: dict[str, Analysis] = {
    "surface": Surface(),
    "metric-p": MetricOverP(),
    "p-path": LpPath(),
    "hessian": Hessian(),
    "landscape": Landscape(),
}
