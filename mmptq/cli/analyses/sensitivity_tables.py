"""What a sensitivity analysis shows in the terminal."""

import math
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.progress_bar import ProgressBar
from rich.table import Table

from mmptq.analysis.sensitivity import (
    Sensitivity,
    SensitivityReport,
    StageSensitivity,
    sum_by_stage,
    worst_first,
)
from mmptq.cli.analyses.base import make_table

_LISTED = 20  # quantizers
_BAR = 20  # characters


def quantizers_table(label: str, report: SensitivityReport) -> Table:
    """The worst quantizers with all their measures."""
    table = make_table("worst quantizers", "stage")
    records = worst_first(report.records)
    with_metric = any(record.metric_alone is not None for record in records)
    table.title = f"{label}: {len(records)} quantizers" + _described(report)
    table.add_column("")
    for heading in ("alone", "gain", "estimate", "diagonal", "SQNR"):
        table.add_column(heading, justify="right")
    for heading in ("metric alone", "metric without") if with_metric else ():
        table.add_column(heading, justify="right")
    largest = max((r.harm for r in records if math.isfinite(r.harm)), default=1.0) or 1.0
    for record in records[:_LISTED]:
        share = min(record.harm / largest, 1.0)
        table.add_row(record.name, record.stage, _bar(share), *_cells(record, with_metric))
    return _compact(table, bars=2)


def _described(report: SensitivityReport) -> str:
    parts = []
    if report.distance is not None:
        parts.append(f"distance with all on {report.distance:.4g}")
    if report.metric_all is not None:
        parts.append(f"metric {report.metric_all:.3f}, float {report.metric_float:.3f}")
    return "".join(f"; {part}" for part in parts)


def _cells(record: Sensitivity, with_metric: bool) -> list[str]:
    found = [
        _number(record.alone),
        _number(record.rest),
        f"{record.projected:.3g}{_relative(record)}",
        _number(record.fisher),
        f"{record.sqnr:.1f}",
    ]
    metrics = (record.metric_alone, record.metric_without)
    return found + ([_number(value) for value in metrics] if with_metric else [])


def _relative(record: Sensitivity) -> str:
    """The estimate's standard error."""
    if not record.projected or math.isnan(record.projected_error):
        return ""
    return f" ±{100 * record.projected_error / record.projected:.0f}%"


def stages_table(label: str, report: SensitivityReport) -> Table:
    """Sums by stage."""
    table = make_table("stage", "quantizers", "MACs")
    table.add_column("")
    for heading in ("alone", "gain", "estimate"):
        table.add_column(heading, justify="right")
    table.title = f"{label}: by stage"
    sums = sum_by_stage(report.records)
    values = [s.projected if s.alone is None else s.alone for s in sums]
    largest, macs = max(values) or 1.0, sum(s.macs for s in sums) or 1
    for s, value in zip(sums, values, strict=True):
        numbers = (_number(x) for x in (s.alone, s.rest, s.projected))
        share = f"{100 * s.macs / macs:.1f} %"
        table.add_row(s.stage, str(s.quantizers), share, _bar(value / largest), *numbers)
    table.add_section()
    totals = [_total(sums, key) for key in ("alone", "rest", "projected")]
    table.add_row("sum", str(len(report.records)), "", "", *map(_number, totals))
    return _compact(table, bars=3)


def _compact(table: Table, bars: int) -> Table:
    """In a narrow terminal the bars give way, then the names' ends; numbers do not."""
    table.box, table.pad_edge, table.collapse_padding = box.SIMPLE_HEAD, False, True
    table.columns[0].no_wrap = True
    for i, column in enumerate(table.columns):
        if i not in (0, bars):
            column.min_width = max(cell_len(str(x)) for x in (column.header, *column.cells))
    return table


def _total(sums: Sequence[StageSensitivity], key: str) -> float | None:
    values = [getattr(s, key) for s in sums]
    return None if None in values else sum(values)


def ranking_table(label: str, report: SensitivityReport) -> Table:
    """How well each measure ranks by another."""
    dears = list(dict.fromkeys(d for found in report.correlations.values() for d in found))
    table = make_table("rank correlation (Spearman)", *(_NAMES[dear] for dear in dears))
    table.title = f"{label}: how well one measure ranks by another"
    for cheap, found in report.correlations.items():
        table.add_row(_NAMES[cheap], *(_number(found.get(dear)) for dear in dears))
    return table


_NAMES = {
    "sqnr": "SQNR",
    "fisher": "diagonal",
    "projected": "estimate",
    "alone": "alone",
    "rest": "gain",
    "metric_alone": "metric alone",
    "metric_without": "metric without",
}


def _bar(share: float) -> ProgressBar:
    return ProgressBar(total=1.0, completed=share if share == share else 1.0, width=_BAR)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
