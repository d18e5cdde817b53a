"""Analyses of the loss as a function of single steps: surface, Hessian."""

import argparse
from pathlib import Path

from rich.table import Table

from mmptq.analysis import figures, measure_step_hessian, measure_step_surface
from mmptq.analysis.hessian import Curvature
from mmptq.cli.analyses.base import (
    Analysis,
    Arguments,
    Results,
    Run,
    add_points,
    check_points,
    check_range,
    even_grid,
    make_table,
)
from mmptq.errors import ConfigError

RESOLVED = 0.5  # error of a Hessian above which it says nothing


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
