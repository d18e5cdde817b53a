"""What a comparison prints: a table a model and column, for a terminal or as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import markdown_table
from rich import box
from rich.markup import escape
from rich.table import Table

from comparison.columns import Column
from comparison.groups import Figures, Group, find_group
from comparison.intervals import BEST, FLOAT, MINMAX
from comparison.models import MODELS
from comparison.specs import Spec
from mmptq.evaluation import render


class Content(NamedTuple):
    """One table.

    Args:
        title: Above it.
        head: Headings.
        rows: Texts, as many as headings.
    """

    title: str
    head: list[str]
    rows: list[list[str]]


def contents(
    values: Mapping[str, Figures],
    intervals: Mapping[str, Mapping[str, Any]],
    models: Sequence[str],
    columns: Sequence[Column],
    specs: Sequence[Spec],
    against: Sequence[Spec] = (),
    images: int | None = None,
) -> Iterator[Content]:
    """A table for each model and column of which something is measured."""
    for model in models:
        reference = find_group(values, model)
        for column in columns:
            found = [find_group(values, model, spec, column, images) for spec in specs]
            groups = [group for group in found if group is not None]
            if groups:
                yield _content(model, column, reference, groups, intervals, against)


def _content(
    model: str,
    column: Column,
    reference: Group | None,
    groups: Sequence[Group],
    intervals: Mapping[str, Mapping[str, Any]],
    against: Sequence[Spec],
) -> Content:
    metric = "top-1" if MODELS[model].metric == "top1" else "mAP"
    title = f"{MODELS[model].title}, {column.name}"
    if reference is not None:
        title += f", float {reference.spread()[0]:.1f}"
    head = ["method", "seeds", metric, "distance", "minus float", "minus min-max"]
    head += ["minus best ranges", *(f"minus {spec.name}" for spec in against), "seconds"]
    names = (FLOAT, MINMAX, BEST, *(spec.name for spec in against))
    return Content(title, head, [_row(g, intervals.get(g.name, {}), names) for g in groups])


def _row(group: Group, differences: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    spec = group.cells[0].spec
    assert spec is not None
    if differences.get("seeds") != group.seeds:  # kept before others were measured
        differences = {}
    return [
        spec.title,
        " ".join(map(str, group.seeds)),
        _value(group),
        _number(group.mean("distance"), ".4f"),
        *(_difference(differences.get(name), name == BEST) for name in names),
        _number(group.mean("seconds"), ".0f"),
    ]


def _value(group: Group) -> str:
    """The metric, its deviation over the seeds, and whether it is that of a step's start."""
    mean, deviation = group.spread()
    text = f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"
    if not group.refused:
        return text
    of = f" {group.refused} of {len(group.cells)}" if len(group.cells) > 1 else ""
    return f"{text} (start kept{of})"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _difference(found: Mapping[str, Any] | None, named: bool) -> str:
    """With its 95 % interval, and with what it is the difference to where that is a choice."""
    if found is None:
        return ""
    text = "{difference:+.1f} ({low:+.1f} to {high:+.1f})".format_map(found)
    return f"{text} {found['method']}" if named else text


def to_markdown(tables: Sequence[Content]) -> str:
    """The tables under their titles."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Content) -> str:
    return f"**{table.title}**\n\n{markdown_table.table(table.head, table.rows)}\n"


def to_text(tables: Sequence[Content]) -> str:
    """The tables as a terminal shows them."""
    return "\n".join(render(_drawn(table)) for table in tables)


def _drawn(table: Content) -> Table:
    drawn = Table(title=escape(table.title), title_justify="left", box=box.SIMPLE)
    for i, heading in enumerate(table.head):
        drawn.add_column(heading, justify="left" if i == 0 else "right")
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    return drawn
