"""The table that a quantization run ends with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.table import Table

from mmptq.evaluation.row import ResultRow

Section = Literal["all", "accuracy", "cost"]
NOTHING = "-"

# Key of the metric -> heading. COCO's are fractions and shown in percent.
_KNOWN = {
    "bbox_mAP": "mAP",
    "bbox_mAP_50": "AP50",
    "bbox_mAP_75": "AP75",
    "bbox_mAP_s": "APs",
    "bbox_mAP_m": "APm",
    "bbox_mAP_l": "APl",
    "segm_mAP": "mask mAP",
    "top1": "top1",
    "accuracy/top1": "top1",
    "top5": "top5",
    "accuracy/top5": "top5",
}
_MAX_UNKNOWN = 6


@dataclass(frozen=True)
class Column:
    """Heading and one text per row."""

    title: str
    cells: list[str]
    numeric: bool = True


def metric_keys(rows: Sequence[ResultRow]) -> list[str]:
    """Metrics to show, the main one first: the well-known ones, or else whatever there is."""
    present = {key: None for row in rows for key in row.metrics}  # a dict keeps the order
    known = [key for key in _KNOWN if key in present]
    return known or list(present)[:_MAX_UNKNOWN]


def best_row(rows: Sequence[ResultRow]) -> int | None:
    """Index of the quantized row with the best main metric; the first of equals."""
    keys = metric_keys(rows)
    if not keys:
        return None
    scores = {i: row.metrics.get(keys[0], math.nan) for i, row in enumerate(rows)}
    scores = {i: s for i, s in scores.items() if not rows[i].is_float and not _absent(s, keys[0])}
    return max(scores, key=lambda i: (scores[i], -i)) if scores else None


def columns(rows: Sequence[ResultRow], section: Section = "all") -> list[Column]:
    """The table's columns; ``section`` picks those about accuracy or about cost."""
    reference = next((row for row in rows if row.is_float), None)
    picked = [
        Column("method", [row.method for row in rows], numeric=False),
        Column("scope", [row.scope for row in rows], numeric=False),
        Column("bits", [row.bits for row in rows], numeric=False),
    ]
    if section != "cost":
        picked += _accuracy_columns(rows, reference)
    if section != "accuracy":
        picked += _cost_columns(rows, reference)
    return picked


def build_table(rows: Sequence[ResultRow], section: Section = "all", title: str = "") -> Table:
    """``rows`` as a rich table; the best quantized row is bold."""
    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    picked = columns(rows, section)
    for column in picked:
        table.add_column(
            column.title,
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric,
            overflow="fold",  # no part of a name is lost in a narrow terminal
        )
    best = best_row(rows)
    for i in range(len(rows)):
        table.add_row(*(c.cells[i] for c in picked), style="bold" if i == best else None)
    return table


def build_markdown(rows: Sequence[ResultRow]) -> str:
    """``rows`` as a table of GitHub's Markdown; the best quantized row is bold."""
    picked = columns(rows)
    best = best_row(rows)
    lines = [
        [c.title for c in picked],
        ["---:" if c.numeric else "---" for c in picked],
    ]
    for i in range(len(rows)):
        cells = [c.cells[i].replace("|", "\\|") for c in picked]
        lines.append([f"**{cell}**" for cell in cells] if i == best else cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _accuracy_columns(rows: Sequence[ResultRow], reference: ResultRow | None) -> list[Column]:
    keys = metric_keys(rows)
    picked = [
        Column(_KNOWN.get(key, key), [format_metric(key, row.metrics.get(key)) for row in rows])
        for key in keys
    ]
    if keys:
        # Beside the metric whose difference it is.
        differences = [_difference(keys[0], row, reference) for row in rows]
        picked.insert(1, Column("vs float", differences))
    return picked


def _cost_columns(rows: Sequence[ResultRow], reference: ResultRow | None) -> list[Column]:
    float_mb = reference.size_mb if reference else None
    return [
        Column("size MB", [_size(row, float_mb) for row in rows]),
        Column("GBOPs", [_cost(row.gbops) for row in rows]),
        Column("MACs", [_share(row.mac_share) for row in rows]),
        Column("images", [NOTHING if not row.images else str(row.images) for row in rows]),
        Column("time", [format_seconds(row.seconds) for row in rows]),
    ]


def format_metric(key: str, value: float | None) -> str:
    """Percent with one decimal; ``-`` where COCO has no object of the kind (-1), or no value."""
    if value is None or _absent(value, key):
        return NOTHING
    if _is_fraction(key):
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if key in _KNOWN else f"{value:.4g}"


def format_seconds(seconds: float | None) -> str:
    """Short text of a duration, such as ``4.2 s``, ``3m05s`` or ``1h02m``."""
    if seconds is None:
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


def _difference(key: str, row: ResultRow, reference: ResultRow | None) -> str:
    if reference is None or row is reference:
        return NOTHING
    values = [r.metrics.get(key, math.nan) for r in (row, reference)]
    if any(_absent(value, key) for value in values):
        return NOTHING
    difference = values[0] - values[1]
    if key not in _KNOWN:
        return f"{difference:+.3g}"
    points = round(100 * difference if _is_fraction(key) else difference, 1)
    return f"{points + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0


def _size(row: ResultRow, float_mb: float | None) -> str:
    if row.size_mb is None:
        return NOTHING
    if row.is_float or not float_mb or not row.size_mb:
        return _cost(row.size_mb)
    return f"{_cost(float_mb)} -> {_cost(row.size_mb)} ({float_mb / row.size_mb:.1f}x)"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f} %"


def _cost(value: float | None) -> str:
    if value is None:
        return NOTHING
    digits = 0 if value >= 1000 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:,.{digits}f}"


def _is_fraction(key: str) -> bool:
    return key.rpartition("/")[2].startswith(("bbox_", "segm_"))


def _absent(value: float, key: str) -> bool:
    return math.isnan(value) or (value < 0 and _is_fraction(key))
