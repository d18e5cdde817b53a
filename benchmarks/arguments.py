"""Arguments that several benchmarks take."""

import argparse
import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """Its help is the module's docstring as it stands."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_bccd(parser: argparse.ArgumentParser, models: Sequence[str]) -> None:
    """Where BCCD and its float models lie, and which to measure."""
    parser.add_argument("--data-root", default="data/bccd", help="BCCD in COCO form")
    parser.add_argument(
        "--checkpoints", default="checkpoints/bccd", help="folder of the float models"
    )
    parser.add_argument("--models", nargs="+", choices=models, default=list(models))


def add_cells(parser: argparse.ArgumentParser, name: str) -> None:
    """The file of the measured cells."""
    path = ROOT / f"benchmarks/results/{name}.json"
    parser.add_argument("--json", type=Path, default=path, help="file of the cells")
    parser.add_argument("--print-only", action="store_true", help="print the table as it stands")


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--options KEY=VALUE ...``, see :func:`parse_options`."""
    parser.add_argument(
        "--options", nargs="*", default=[], metavar="KEY=VALUE", help="of the method: a trial"
    )


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
