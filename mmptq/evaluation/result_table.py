"""The table that a quantization run ends with."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.table import Table

from mmptq.evaluation.row import ResultRow

Section = Literal["all", "accuracy", "cost"]
NOTHING = "-"

# Name of the metric -> heading.
_KNOWN = {
    "bbox_mAP": "mAP",
    "bbox_mAP_50": "AP50",
    "bbox_mAP_75": "AP75",
    "bbox_mAP_s": "APs",
    "bbox_mAP_m": "APm",
    "bbox_mAP_l": "APl",
    "segm_mAP": "mask mAP",
    "segm_mAP_50": "mask AP50",
    "segm_mAP_75": "mask AP75",
    "mAP": "mAP",
    "AP50": "AP50",
    "AP75": "AP75",
    "top1": "top1",
    "accuracy/top1": "top1",
    "top5": "top5",
    "accuracy/top5": "top5",
    "HR@10": "HR@10",
    "ranking/HR@10": "HR@10",
    "NDCG@10": "NDCG@10",
    "ranking/NDCG@10": "NDCG@10",
}
_MAX_UNKNOWN = 6

# COCO's and VOC's metrics are fractions and shown in percent; so are those of single classes, which
# have no columns.
_FRACTIONS = re.compile(r"(bbox|segm)_|m?AP\d*$|AR(_[sml])?@|recall@")
_OF_COCO = ("bbox_", "segm_")


@dataclass(frozen=True)
class Column:
    """Heading and one text per row."""

    title: str
    cells: list[str]
    numeric: bool = True


def metric_keys(rows: Sequence[ResultRow]) -> list[str]:
    """Metrics to show, of one data set after the other: the well-known ones, then some others."""
    sets: dict[str, dict[str, None]] = {}  # a dict keeps the order
    for row in rows:
        for key in row.metrics:
            sets.setdefault(_set(key), {})[key] = None
    order = list(_KNOWN)
    shown: list[str] = []
    for present in sets.values():
        known = [key for key in present if _name(key) in _KNOWN]
        others = [key for key in present if _name(key) not in _KNOWN]
        if known:
            others = [key for key in others if not _name(key).startswith(_OF_COCO)]
        shown += sorted(known, key=lambda key: order.index(_name(key))) + others[:_MAX_UNKNOWN]
    return shown


def best_row(rows: Sequence[ResultRow]) -> int | None:
    """Index of the quantized row with the best main metric; the first of equals."""
    keys = metric_keys(rows)
    if not keys:
        return None
    scores = {i: row.metrics.get(keys[0], math.nan) for i, row in enumerate(rows)}
    scores = {i: s for i, s in scores.items() if not rows[i].is_float and not is_absent(s, keys[0])}
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
    several = len({_set(key) for key in keys}) > 1
    picked: list[Column] = []
    for i, (key, heading) in enumerate(zip(keys, _titles(keys), strict=True)):
        picked.append(Column(heading, [format_metric(key, row.metrics.get(key)) for row in rows]))
        if i == 0 or _set(key) != _set(keys[i - 1]):
            # Beside the metric whose difference it is, the main one of a set.
            heading = f"{_set(key)} vs float" if several else "vs float"
            picked.append(Column(heading, [_difference(key, row, reference) for row in rows]))
    return picked


def _titles(keys: Sequence[str]) -> list[str]:
    """Headings; the whole key where two would be equal."""
    titles = [title(key) for key in keys]
    return [
        text if titles.count(text) == 1 else key for text, key in zip(titles, keys, strict=True)
    ]


def title(key: str) -> str:
    """A metric's heading."""
    return f"{_set(key)} {_KNOWN.get(_name(key), _name(key))}".strip()


def _set(key: str) -> str:
    """The data set of a metric, or whatever its name begins with to tell it from another."""
    return key.partition("/")[0] if "/" in key and key not in _KNOWN else ""


def _name(key: str) -> str:
    return key if key in _KNOWN else key.rpartition("/")[2]


def _cost_columns(rows: Sequence[ResultRow], reference: ResultRow | None) -> list[Column]:
    float_mb = reference.size_mb if reference else None
    return [
        Column("size MB", [_size(row, float_mb) for row in rows]),
        Column("GBOPs", [format_cost(row.gbops) for row in rows]),
        Column("MACs", [_share(row.mac_share) for row in rows]),
        Column("images", [NOTHING if not row.images else str(row.images) for row in rows]),
        Column("time", [format_seconds(row.seconds) for row in rows]),
        *_runtime_columns(rows),
    ]


def _runtime_columns(rows: Sequence[ResultRow]) -> list[Column]:
    if all(row.ms is None for row in rows):
        return []
    return [Column("ms an image", [NOTHING if row.ms is None else f"{row.ms:.1f}" for row in rows])]


def format_metric(key: str, value: float | None) -> str:
    """Percent with one decimal; ``-`` where COCO has no object of the kind (-1), or no value."""
    if value is None or is_absent(value, key):
        return NOTHING
    if is_fraction(key):
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if _name(key) in _KNOWN else f"{value:.4g}"


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
    if any(is_absent(value, key) for value in values):
        return NOTHING
    difference = values[0] - values[1]
    if _name(key) not in _KNOWN and not is_fraction(key):
        return f"{difference:+.3g}"
    points = round(100 * difference if is_fraction(key) else difference, 1)
    return f"{points + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0


def _size(row: ResultRow, float_mb: float | None) -> str:
    if row.size_mb is None:
        return NOTHING
    if row.is_float or not float_mb or not row.size_mb:
        return format_cost(row.size_mb)
    return f"{format_cost(float_mb)} -> {format_cost(row.size_mb)} ({float_mb / row.size_mb:.1f}x)"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f} %"


def format_cost(value: float | None) -> str:
    """Megabytes or bit operations, in about three digits."""
    if value is None:
        return NOTHING
    digits = 0 if value >= 1000 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:,.{digits}f}"


def is_fraction(key: str) -> bool:
    """Whether a metric is between 0 and 1, and shown in percent."""
    return _FRACTIONS.match(key.rpartition("/")[2]) is not None


def in_points(value: float, key: str) -> float:
    """A metric as the table shows it: a fraction in percent."""
    return 100.0 * value if is_fraction(key) else value


def is_absent(value: float, key: str) -> bool:
    """Whether there is no value; COCO's -1 says that there is no object of the kind."""
    return math.isnan(value) or (value < 0 and is_fraction(key))
