"""What mixed precision chose from, where it is a step of the recipe."""

from typing import Any

from mmptq.evaluation.result_table import NOTHING, Column
from mmptq.report.reading import dict_of, dicts_of, number, read_json, text
from mmptq.report.run import Run
from mmptq.report.section import folded, paragraph, table

_FILE = "mixed_precision.json"
_MOST = 1500  # groups in the page


def mixed_choices(run: Run) -> str:
    """Allocations that were measured, and every group's bits; empty where there are none.

    Raises:
        MmptqError: The file is damaged.
    """
    path = run.folder / _FILE
    if not path.is_file():
        return ""
    data = dict_of(read_json(path), str(path))
    tried = dicts_of(data.get("tried"), f"{path}: tried")
    groups = dicts_of(data.get("groups"), f"{path}: groups")[:_MOST]
    return _tried(tried) + folded(f"Bits of {len(groups)} groups", _groups(groups))


def _tried(rows: list[dict[str, Any]]) -> str:
    columns = [Column("allocation", [text(row, "label") for row in rows], numeric=False)]
    for title, key in (
        ("MB", "size_mb"),
        ("GBOPs", "gbops"),
        ("estimated distance", "harm"),
        ("measured loss", "loss"),
        ("lost points", "drop"),
    ):
        if any(row.get(key) is not None for row in rows):
            columns.append(Column(title, [_figure(row, key) for row in rows]))
    looks = ["best" if row.get("chosen") is True else "" for row in rows]
    said = "Allocations within the budget; the one in bold was taken."
    return paragraph(said, "dim") + table(columns, looks, "allocations")


def _groups(groups: list[dict[str, Any]]) -> str:
    return table(
        [
            Column("tensor", [text(group, "name") for group in groups], numeric=False),
            Column("stage", [text(group, "stage") for group in groups], numeric=False),
            Column("bits", [_figure(group, "bits") for group in groups]),
            Column("", ["fixed" if g.get("fixed") is True else "" for g in groups], numeric=False),
        ],
        caption="bits of each tensor",
    )


def _figure(values: dict[str, Any], key: str) -> str:
    value = number(values, key)
    return f"{value:.4g}" if value == value else NOTHING
