"""How long a cell may take, by those that are done."""

import re
from collections.abc import Iterator, Mapping
from statistics import mean
from typing import Any, NamedTuple

from comparison.plan import Cell

FLOAT = "float"


class _Done(NamedTuple):
    """A measured cell; ``method`` with what is changed in it, ``key`` without."""

    model: str
    method: str
    key: str
    iters: int | None
    seconds: float


class Estimate:
    """Seconds that cells may take, their evaluation included.

    Args:
        values: Figures of measured cells, by name.
    """

    def __init__(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        self._done = list(_done(values))
        self._floats = {d.model: d.seconds for d in self._done if d.key == FLOAT}

    def __call__(self, cell: Cell) -> float | None:
        """Of one cell; None where nothing tells.

        The mean of the model's cells of the same method; else of those of it with other iterations,
        which count in proportion; else of other models', in proportion to the float models' cells.
        """
        method, key, iters = FLOAT, FLOAT, None
        if cell.spec is not None:
            method, key, iters = cell.spec.name, cell.spec.key, cell.spec.iters
        related = [d for d in self._done if d.key == key]
        own = [d for d in related if d.model == cell.model]
        choices = (
            [d.seconds for d in own if d.method == method],
            [d.seconds * _ratio(iters, d.iters) for d in own],
            [
                d.seconds * _ratio(iters, d.iters) * pace
                for d in related
                if (pace := self._pace(cell, d)) is not None
            ],
        )
        return next((mean(found) for found in choices if found), None)

    def _pace(self, cell: Cell, done: _Done) -> float | None:
        """How much longer the cell's float model takes than that of another cell."""
        ours, theirs = (self._floats.get(model) for model in (cell.model, done.model))
        return ours / theirs if ours and theirs else None


def _done(values: Mapping[str, Mapping[str, Any]]) -> Iterator[_Done]:
    for name, figures in values.items():
        if "cell_seconds" in figures:
            model, method = name.split("/")[:2]
            key = re.split("[@:]", method)[0]
            yield _Done(model, method, key, figures.get("iters"), figures["cell_seconds"])


def _ratio(iters: int | None, done: int | None) -> float:
    return iters / done if iters and done else 1.0
