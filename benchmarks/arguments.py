"""Arguments that several benchmarks take."""

import argparse
import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """Its help is the module's docstring as it stands."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_cells(parser: argparse.ArgumentParser, name: str) -> None:
    """The file of the measured cells."""
    path = ROOT / f"benchmarks/results/{name}.json"
    parser.add_argument("--json", type=Path, default=path, help="file of the cells")
    parser.add_argument("--print-only", action="store_true", help="print the table as it stands")


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
