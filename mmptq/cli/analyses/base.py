"""What the analyses have in common: a run at one bit-width, shared arguments, their checks."""

import argparse
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from rich.console import RenderableType
from rich.table import Table

from mmptq.analysis import BitWidths, ModelLoss
from mmptq.engine import CalibrationContext
from mmptq.errors import ConfigError
from mmptq.runner import CalibrationRunner

Results = dict[str, dict[str, Any]]  # by bit-width
Arguments = argparse.Namespace


@dataclass
class Run:
    """One bit-width's model.

    Args:
        args: The command line.
        bits: Its bit-widths.
        runner: Set up.
        context: Of its model.
    """

    args: Arguments
    bits: BitWidths
    runner: CalibrationRunner
    context: CalibrationContext

    @property
    def label(self) -> str:
        """Of the bit-widths."""
        return self.bits.label

    @property
    def objective(self) -> dict[str, str]:
        """The loss's config."""
        return {"type": self.args.objective}

    def model_loss(self) -> ModelLoss:
        """Loss of the model as it stands."""
        return ModelLoss(self.context, self.objective, self.args.cache_gb)


class Analysis(ABC):
    """One sub-command.

    ``summary`` is its line of help, ``bits`` the default bit-widths (none: the config's own),
    ``objective`` the default loss.
    """

    summary: str
    bits: str
    objective = "TaskLoss"

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Arguments beside the shared ones."""

    def check(self, args: Arguments) -> None:  # noqa: B027
        """Refuse what cannot work before anything is read.

        Raises:
            ConfigError: Names the argument.
        """

    def change_config(self, args: Arguments, cfg: Config) -> None:  # noqa: B027
        """Change the config before a runner is built of it.

        Raises:
            ConfigError: Names the argument.
        """

    def prepare(self, run: Run) -> None:
        """Give the model its quantized form; once for each bit-width, before :meth:`measure`."""
        run.runner.prepare_model(run.context)

    @abstractmethod
    def measure(self, run: Run, results: Results) -> None:
        """Add what is found at one bit-width to ``results``."""

    @abstractmethod
    def show(self, args: Arguments, results: Results, path: Path) -> RenderableType:
        """Draw the picture and return the table."""


def add_points(parser: argparse.ArgumentParser, default: int, what: str) -> None:
    parser.add_argument("--points", type=int, default=default, help=f"{what} (default: {default})")


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
