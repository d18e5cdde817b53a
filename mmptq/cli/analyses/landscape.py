"""The loss over a plane of weights (Bit-shrinking, Fig. 1)."""

import argparse
import math
from pathlib import Path

from rich.table import Table

from mmptq.analysis import figures, measure_landscape, set_lp_ranges, symmetric_axis
from mmptq.cli.analyses.base import (
    Analysis,
    Arguments,
    Results,
    Run,
    add_points,
    check_points,
    make_table,
)
from mmptq.engine import float_form
from mmptq.errors import ConfigError


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
