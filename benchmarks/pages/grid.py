"""A table of measured cells, told as data: which cell stands where, and in what form."""

from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any, NamedTuple

from markdown_table import table

from mmptq.errors import MmptqError
from pages.measured import Cell, cells_of, cells_over_seeds, mean_cell

Vars = dict[str, Any]
Label = str | tuple[str, ...]

NESTED = 3  # a template's variables may be templates


class Grid(NamedTuple):
    """Rows and columns, each with variables; a row's count before a column's, both before ``all``.

    Variables that are known:
        file: Of the cells, without ``.json``.
        name: Template of the cell's name, over all other variables, ``seed``, ``choice``
            (``, seed 1``; empty for seed 0) and ``slash`` (``/seed1``; the same). Several names:
            their texts are joined.
        pooled: Several names are one place: their cells are taken like those of several seeds.
        seeds: Of which the mean is shown; default: 0.
        minus: Template of the name of a cell whose figures are subtracted, if any.
        text: Template of what is shown, over the cell's keys: means over the seeds, ``{low[key]}``,
            ``{high[key]}`` and ``{std[key]}``, ``{count}`` of seeds, ``{each[key]}``: one value a
            seed with one digit, ``{b}``: ``**`` where the figure is its column's best.
        several: The same where there are several seeds; default: ``text``.
        best: Key whose largest value is the best of a column.

    Args:
        corner: Headings of the columns with the rows' labels.
        rows: Variables by label, or by several labels, one for each heading of ``corner``.
        columns: Heading and variables of each; headings may be the same.
        all: Variables of every cell.
    """

    corner: tuple[str, ...]
    rows: Mapping[Any, Vars]
    columns: Sequence[tuple[str, Vars]]
    all: Vars

    def markdown(self) -> str:
        """The table.

        Raises:
            MmptqError: A row or a column has no cell that was measured.
        """
        filled = [[self._figures(row, c) for _, c in self.columns] for row in self.rows.values()]
        best = [_largest(column) for column in zip(*filled, strict=True)]
        head = [*self.corner, *(heading for heading, _ in self.columns)]
        lines = []
        for label, row in zip(self.rows, filled, strict=True):
            labels = (label,) if isinstance(label, str) else label
            lines.append([*labels, *(f.text(b) for f, b in zip(row, best, strict=True))])
        self._refuse_empty(lines)
        return table(head, lines) + "\n"

    def cells(self, row: Label, column: int) -> list[Cell]:
        """What was measured for one place, seed by seed."""
        return self._figures(self.rows[row], self.columns[column][1]).cells[0]

    def figure(self, row: Label, column: int, key: str) -> float:
        """The mean over the seeds of a figure in one place."""
        return mean_cell(self.cells(row, column))[key]

    def _figures(self, row: Vars, column: Vars) -> "_Figures":
        variables = {**self.all, **column, **row}
        names, file = variables["name"], variables["file"]
        found = [
            cells_over_seeds(file, _filled(name, variables), variables.get("seeds", (0,)))
            for name in ((names,) if isinstance(names, str) else names)
        ]
        if variables.get("minus"):
            less = cells_of(file)[_filled(variables["minus"], variables)]
            found = [[_difference(cell, less) for cell in cells] for cells in found]
        return _Figures(variables, [sum(found, [])] if variables.get("pooled") else found)

    def _refuse_empty(self, rows: Sequence[Sequence[str]]) -> None:
        first = len(self.corner)
        for row in rows:
            if not any(row[first:]):
                raise MmptqError(f"the row {row[0]} has no measured cell: mend its variables")
        for (heading, _), column in zip(
            self.columns, [*zip(*rows, strict=True)][first:], strict=True
        ):
            if not any(column):
                raise MmptqError(f"the column {heading} has no measured cell: mend its variables")


def _filled(template: str, variables: Vars) -> str:
    for _ in range(NESTED):
        template = template.format_map(_Kept(variables))
    return template


def _difference(cell: Cell, less: Cell) -> Cell:
    """Of the figures that both have; the others stay."""
    return cell | {key: cell[key] - less[key] for key in less if _is_number(cell.get(key))}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


class _Kept(dict[str, Any]):
    """Leaves ``{seed}`` and ``{choice}`` in a template: they are filled in seed by seed."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


class _Figures(NamedTuple):
    """What stands in one place of a table."""

    variables: Vars
    cells: list[list[Cell]]

    @property
    def value(self) -> float | None:
        """By which a column's best is found."""
        key = self.variables.get("best")
        return mean_cell(self.cells[0]).get(key) if key and self.cells[0] else None

    def text(self, best: float | None) -> str:
        bold = "**" if best is not None and self.value == best else ""
        return ", ".join(self._one(cells, bold) for cells in self.cells if cells)

    def _one(self, cells: list[Cell], bold: str) -> str:
        numbers = _numbers(cells)
        each = {k: " ".join(f"{v:.1f}" for v in values) for k, values in numbers.items()}
        extremes = {
            "low": {key: min(values) for key, values in numbers.items()},
            "high": {key: max(values) for key, values in numbers.items()},
            "std": {key: stdev(v) if len(v) > 1 else 0.0 for key, v in numbers.items()},
        }
        known = {**mean_cell(cells), **extremes, "each": each, "count": len(cells), "b": bold}
        text = self.variables["text"]
        if len(cells) > 1:
            text = self.variables.get("several", text)
        try:
            return text.format_map(known)
        except KeyError:
            return ""  # measured without this figure


def _numbers(cells: list[Cell]) -> dict[str, list[float]]:
    return {
        key: [cell[key] for cell in cells]
        for key, value in cells[0].items()
        if _is_number(value) and all(_is_number(cell.get(key)) for cell in cells)
    }


def _largest(column: Sequence[_Figures]) -> float | None:
    values = [f.value for f in column if f.value is not None]
    return max(values) if len(values) > 1 else None
