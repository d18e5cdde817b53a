"""Losses and bit-widths of reconstructed units, out of their logs in ``reconstruction/<step>/``."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmptq.engine.storage.search_log import read_search_log
from mmptq.errors import MmptqError
from mmptq.evaluation.result_table import NOTHING, Column, format_seconds
from mmptq.report.reading import count, dicts_of, number, read_json, text
from mmptq.report.run import Run
from mmptq.report.section import Bars, paragraph, table
from mmptq.webpage import Axes, Line, Look, for_html, legend, line_plot

_MOST = 60  # units with curves
_LOSS_AXES = Axes(380, 200, left=58)
_BITS_AXES = Axes(380, 140, left=58)
_LOSSES: tuple[tuple[str, str, Look, int], ...] = (
    ("loss", "mini-batch loss", "dots", 0),
    ("R", "R, probe images", "line", 1),
    ("S", "sharpness S", "line", 2),
    ("instant_S", "instant sharpness", "dots", 3),
)
_BITS: tuple[tuple[str, str, int], ...] = (
    ("b_w", "bits of weights", 4),
    ("b_a", "bits of activations", 5),
)

Rows = Sequence[dict[str, Any]]


def unit_curves(run: Run, step: str) -> str:
    """A table of a step's units, and their curves; nothing where the step adjusts none.

    Args:
        run: Of which the step is one.
        step: Its type.

    Raises:
        MmptqError: A log cannot be read.
    """
    folder = run.folder / "reconstruction" / step
    # A type comes from a file: it must not lead elsewhere.
    if not step.isidentifier() or not (folder / "summary.json").is_file():
        return ""
    summary = folder / "summary.json"
    units = dicts_of(read_json(summary), str(summary))
    if not units:
        return ""
    logs = {path.name.removesuffix(".jsonl"): path for path in folder.glob("*.jsonl")}
    shown = [unit for unit in units if text(unit, "name") in logs][:_MOST]
    figures = [_figure(text(u, "name"), _rows(logs[text(u, "name")])) for u in shown]
    parts = [_summary(units), _legend(), f'<div class="plots">{"".join(figures)}</div>']
    if len(shown) < len(units):
        parts.append(
            paragraph(
                f"Curves of {len(shown)} of {len(units)} units; all logs are in "
                f"reconstruction/{step}/.",
                "note",
            )
        )
    return "\n".join(parts)


def _summary(units: Rows) -> str:
    before, after = ([number(unit, key) for unit in units] for key in ("before", "after"))
    ratios = [a / b if b else 1.0 for a, b in zip(after, before, strict=True)]
    columns: list[Column | Bars] = [
        Column("unit", [text(unit, "name") for unit in units], numeric=False),
        Column("layers", [str(count(unit, "layers")) for unit in units]),
        Column("loss at the start", [f"{value:.4g}" for value in before]),
        Column("at the end", [f"{value:.4g}" for value in after]),
        Bars("share left", ratios, [_percent(ratio) for ratio in ratios]),
    ]
    if any(count(unit, "stops") for unit in units):
        stops = [f"{count(unit, 'stops')} ({count(unit, 'forced')})" for unit in units]
        columns.append(Column("shrinks (forced)", stops))
    if any(text(unit, "maps") for unit in units):
        columns.append(Column("maps", [text(unit, "maps") for unit in units], numeric=False))
    seconds = [number(unit, "seconds") for unit in units]
    times = [format_seconds(s) if math.isfinite(s) else NOTHING for s in seconds]
    columns.append(Column("time", times))
    return table(columns, caption="units")


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %" if math.isfinite(ratio) else NOTHING


def _rows(path: Path) -> Rows:
    try:
        return [row for row in read_search_log(path) if isinstance(row, dict)]
    except (OSError, UnicodeDecodeError) as error:
        raise MmptqError(f"cannot read {path}: {error}") from error


def _figure(name: str, rows: Rows) -> str:
    """Losses over iterations; below, where they move, the bit-widths."""
    losses = [Line(said, _points(rows, key), look, color) for key, said, look, color in _LOSSES]
    plot = line_plot(losses, "iteration", "loss", _LOSS_AXES)
    bits = [Line(said, _points(rows, key), "steps", color) for key, said, color in _BITS]
    widths = {y for line in bits for _, y in line.drawn}
    if len(widths) > 1:
        plot += line_plot(bits, "iteration", "bit-width", _BITS_AXES)
    return f"<figure><figcaption>{for_html(name)}</figcaption>{plot}</figure>" if plot else ""


def _legend() -> str:
    """One for all figures."""
    losses = [Line(said, (), look, color) for _, said, look, color in _LOSSES]
    return legend(losses + [Line(said, (), "steps", color) for _, said, color in _BITS])


def _points(rows: Rows, key: str) -> list[tuple[float, float]]:
    return [(number(row, "iteration"), number(row, key)) for row in rows if key in row]
