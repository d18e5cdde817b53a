"""Analyses over p, with all ranges those of least L_p error: metric or loss, LAPQ's path."""

import argparse
import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.table import Table

from mmptq.analysis import figures, measure_lp_errors, measure_over_p
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
from mmptq.evaluation import ResultRow
from mmptq.evaluation.result_table import metric_keys
from mmptq.runner import CalibrationRunner

POWERS = (2.0, 2.5, 3.0, 3.5, 4.0)  # of LAPQ's Fig. 4
SHARES = np.linspace(0.05, 1.0, 96).tolist()


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


def metric(runner: CalibrationRunner) -> float:
    """The main metric of the model as it is now, without what pycocotools prints."""
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        return main_value(runner.evaluate("analysis"))


def main_value(metrics: Mapping[str, float]) -> float:
    """The main one of an evaluator's metrics."""
    row = ResultRow("analysis", "-", 32, 32, metrics=dict(metrics))
    keys = metric_keys([row])
    return row.metrics[keys[0]] if keys else 0.0  # CocoMetric: none where nothing is found
