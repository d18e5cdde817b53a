"""What came out: a sentence, and the table that the run ended with."""

from mmptq.evaluation import ResultRow
from mmptq.evaluation.result_table import (
    NOTHING,
    best_row,
    columns,
    format_cost,
    format_metric,
    metric_keys,
    title,
)
from mmptq.report.run import Run
from mmptq.report.section import Section, paragraph, shortened, table
from mmptq.webpage import for_html

_BASELINE = "minmax"


def result_section(run: Run) -> Section:
    """The final table."""
    rows = run.results.rows
    best = best_row(rows)
    looks = ["best" if i == best else _look(row, run.method) for i, row in enumerate(rows)]
    said = table(columns(rows), looks, "results")
    if not metric_keys(rows):
        said += paragraph("Nothing was measured: there was no test to run.", "note")
    elif run.results.float_row is None or not run.results.float_row.metrics:
        said += paragraph("The float model was not evaluated in this run.", "note")
    if run.record and run.record.blame:
        said += _blame(run.record.blame)
    return Section("results", "Results", said)


def _blame(lines: tuple[str, ...]) -> str:
    """The first line says what was lost, the last what helps; between them is a list."""
    listed = "".join(f"<li>{for_html(line.strip())}</li>" for line in lines[1:-1])
    ends = [f"<p>{for_html(line)}</p>" for line in (lines[0], *lines[1:][-1:])]
    return f'<div class="note">{ends[0]}<ul>{listed}</ul>{"".join(ends[1:])}</div>'


def headline(run: Run) -> str:
    """The answer in a sentence."""
    row, reference = run.row, run.results.float_row
    if row is None:
        return ""
    accuracy = _accuracy(row, reference)
    parts = [f"{shortened(run.method)} at {row.bits}" + (f": {accuracy}" if accuracy else "")]
    for name, unit in (("size_mb", "MB"), ("gbops", "GBOPs")):
        cost, whole = getattr(row, name), getattr(reference, name, None)
        if cost is not None:
            before = "" if whole is None else f" of {format_cost(whole)}"
            parts.append(f"{format_cost(cost)}{before} {unit}")
    return ", ".join(parts) + "."


def _accuracy(row: ResultRow, reference: ResultRow | None) -> str:
    keys = metric_keys([row])
    if not keys:
        return ""
    key = keys[0]
    value = format_metric(key, row.metrics.get(key))
    if reference is None or key not in reference.metrics or value == NOTHING:
        return f"{title(key)} {value}"
    return f"{title(key)} {value} of the float model's {format_metric(key, reference.metrics[key])}"


def _look(row: ResultRow, method: str) -> str:
    return "base" if row.is_float or row.method == _BASELINE != method else ""
