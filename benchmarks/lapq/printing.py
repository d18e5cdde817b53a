"""Names of the cells of tables.py, and the tables of them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from cells import Cells

# Of a table over several choices of the images: key of a cell, heading, digits.
MEANS = {
    "metric": ("mean", 2),
    "training_metric": ("on training images", 2),
    "loss": ("loss", 4),
    "others": ("on other images", 4),
}


def cell_name(args: argparse.Namespace, row: str, bits: str, images: int) -> str:
    model = model_name(args)
    size = f"{images}+{args.others} images" + (f", seed {args.seed}" if args.seed else "")
    size += ", in detail" if args.detail else ""
    if row == "float":
        return f"{model}/float/{args.objective}/{size}"
    name = f"{model}/{args.scope}/{bits}/{size}/{row}/{args.objective}"
    if "joint" in row:
        name += f"/{args.optimizer}/{args.group}/{args.max_iters}"
        name += f"/{args.max_evals} evals" if args.max_evals else ""
        name += f"/{args.held_out} held out" if args.held_out else ""
        name += "/{:g} to {:g}".format(*args.bounds) if args.bounds else ""
    return name


def model_name(args: argparse.Namespace) -> str:
    """Of the config and the calibration images."""
    return "+".join(Path(p).stem for p in (args.config, args.calibration) if p)


def print_table(cells: Cells, args: argparse.Namespace) -> None:
    """Markdown: all figures of one column, or one column a bit-width and number of images."""
    columns = _columns(args)
    rows, title = ("float", *args.rows), _title(args)
    if len(columns) == 1:
        print(f"\n{title}, {_column(*columns[0])}\n")
        names = ("loss", "on other images", "seconds", "evaluations", "peak MB")
        print(f"| method | {_metric_name(args)} | " + " | ".join(names) + " |")
        print("|---|---|---|---|---|---|---|")
    else:
        print(f"\n{title}: {_metric_name(args)} (loss / on other images)\n")
        print("| method | " + " | ".join(_column(*column) for column in columns) + " |")
        print("|---|" + "---|" * len(columns))
    for row in rows:
        found = [cells.values.get(cell_name(args, row, *column)) for column in columns]
        if not any(found):
            continue
        texts = _all_figures(found[0]) if len(found) == 1 else [_short(f) for f in found]
        print(f"| {row} | " + " | ".join(texts) + " |")


def print_choices(cells: Cells, choices: Sequence[argparse.Namespace]) -> None:
    """Markdown, a table a bit-width and number of images: what each choice of images came to."""
    args = choices[0]
    for column in _columns(args):
        rows = {
            row: [cells.values.get(cell_name(choice, row, *column), {}) for choice in choices]
            for row in ("float", *args.rows)
        }
        classes = {name: 1 for cell in sum(rows.values(), []) for name in cell.get("classes", {})}
        print(f"\n{_title(args)}, {_column(*column)}: {_metric_name(args)} over seeds; means\n")
        head = [*(f"seed {c.seed}" for c in choices), *(n for n, _ in MEANS.values()), *classes]
        print(f"| method | {' | '.join(head)} |\n|---{'|---' * len(head)}|")
        for row, found in rows.items():
            texts = [f"{cell['metric']:.1f}" if cell else "" for cell in found]
            texts += [_mean(found, key, digits) for key, (_, digits) in MEANS.items()]
            texts += [_mean([cell.get("classes", {}) for cell in found], c, 2) for c in classes]
            print(f"| {row} | {' | '.join(texts)} |")


def _mean(cells: Sequence[dict[str, Any]], key: str, digits: int) -> str:
    values = [cell[key] for cell in cells if key in cell]
    return f"{mean(values):.{digits}f}" if values else ""


def _columns(args: argparse.Namespace) -> list[tuple[str, int]]:
    return [(bits, images) for bits in args.bits for images in args.images]


def _title(args: argparse.Namespace) -> str:
    model = cell_name(args, "float", "", 0).partition("/")[0]
    title = f"{model}, scope {args.scope}, {args.objective}"
    if any("joint" in row for row in args.rows):
        title += f", {args.optimizer} over each {args.group}"
    return title


def _metric_name(args: argparse.Namespace) -> str:
    return "top-1" if Path(args.config).parent.name == "classification" else "mAP"


def _column(bits: str, images: int) -> str:
    weight, act = bits.split("/")
    return f"W{weight}A{act}, {images} images"


def _short(figures: dict[str, Any] | None) -> str:
    return "{metric:.1f} ({loss:.3f} / {others:.3f})".format(**figures) if figures else ""


def _all_figures(figures: dict[str, Any]) -> list[str]:
    cost = [f"{figures.get(key, 0):.0f}" for key in ("seconds", "evaluations", "peak_mb")]
    return [f"{figures['metric']:.1f}", f"{figures['loss']:.4f}", f"{figures['others']:.4f}"] + [
        text if text != "0" else "-" for text in cost
    ]
