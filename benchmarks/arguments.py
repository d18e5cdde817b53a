"""What the benchmarks' command lines share: options, and how a command ends."""

import argparse
import ast
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mmptq.errors import MmptqError

ROOT = Path(__file__).resolve().parents[1]


def run(main: Callable[[], int | None]) -> None:
    """Call ``main`` and end with its status; with one line if it is something to mend."""
    try:
        status = main()
    except MmptqError as error:
        sys.exit(f"error: {error}")
    if status:
        sys.exit(status)


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """Its help is the module's docstring as it stands."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_choices(parser: argparse.ArgumentParser, **known: Iterable[str]) -> None:
    """``--NAME`` for each name: some of what is known, or all."""
    for name, values in known.items():
        choices = list(values)
        parser.add_argument(f"--{name}", nargs="+", choices=choices, default=choices)


def add_images(parser: argparse.ArgumentParser, default: int = 32) -> None:
    """How many calibration images."""
    parser.add_argument("--images", type=int, default=default, help="calibration images")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Which calibration images."""
    parser.add_argument("--seed", type=int, default=0, help="which calibration images")


def add_threads(
    parser: argparse.ArgumentParser, default: int = 1, used_for: str | None = None
) -> None:
    """CPU threads."""
    parser.add_argument("--threads", type=int, default=default, help=used_for)


def add_cells(parser: argparse.ArgumentParser, name: str) -> None:
    """The file of the measured cells."""
    path = ROOT / f"benchmarks/results/{name}.json"
    parser.add_argument("--json", type=Path, default=path, help="file of the cells")
    parser.add_argument("--print-only", action="store_true", help="print the table as it stands")


def add_check(parser: argparse.ArgumentParser) -> None:
    """``--check``, see :func:`refresh.refresh`."""
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")


def parse_options(options: Iterable[str]) -> dict[str, Any]:
    """``['tau=0.1', 'lr_schedule=restart']`` to a dict."""
    found = {}
    for option in options:
        key, _, value = option.partition("=")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[key] = value
    return found
