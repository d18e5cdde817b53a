"""One board for each test set and metric: figures of other images are never in one table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from mmptq.evaluation.result_table import metric_keys
from mmptq.leaderboard.cells import Cell, make_cells
from mmptq.leaderboard.names import model_names
from mmptq.leaderboard.runs import Run
from mmptq.leaderboard.samples import SIMULATED

_UNKNOWN = (
    "The test set of these runs is not recorded, as they are of an older version and have no "
    "config beside them. Whether they were measured on the same images is not known: compare only "
    "within a run."
)
_BY_NAME = "The annotations could not be read, so that the test set is known by its path alone."


@dataclass
class Board:
    """The runs of one test set.

    Args:
        test: See :class:`mmptq.leaderboard.runs.Run`.
        keys: Metrics, the main one first.
        cells: By model, then the float model, then by bits; naive min-max before other methods.
        num_runs: How many runs they are of.
        notes: What a reader should know.
    """

    test: dict[str, Any]
    keys: list[str]
    cells: list[Cell]
    num_runs: int
    notes: list[str] = field(default_factory=list)

    @property
    def key(self) -> str | None:
        """The main metric."""
        return self.keys[0] if self.keys else None

    @property
    def title(self) -> str:
        """Of the test set."""
        files = [PurePath(file) for file in self.test.get("annotations", ())]
        names = " + ".join("/".join(file.parts[-3:]) for file in files)
        images = self.test.get("images")
        about = [self.test.get("dataset"), f"{images} images" if images is not None else None]
        text = ", ".join(part for part in about if part)
        if not names:
            return text or "test set not recorded"
        return f"{names} ({text})" if text else names


def make_boards(runs: Sequence[Run]) -> list[Board]:
    """Join rows that differ in the seed alone, and sort them by test set.

    Args:
        runs: In any order.
    """
    name = model_names(runs)
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    boards = []
    for members in groups.values():
        keys = metric_keys([row for run in members for row in run.results.rows])
        cells = make_cells(members, name)
        _link(cells)
        key = keys[0] if keys else ""
        cells.sort(key=lambda cell: _order(cell, key))
        boards.append(Board(members[0].test, keys, cells, len(members), _notes(members)))
    return sorted(boards, key=lambda board: board.title)


def _identity(run: Run) -> tuple[Any, ...]:
    """What is equal in runs of the same test images and main metric."""
    test, keys = run.test, metric_keys(run.results.rows)
    where = test.get("sha256") or tuple(test.get("annotations", ()))
    return where, test.get("images"), test.get("dataset"), keys[0] if keys else None


def _notes(runs: Iterable[Run]) -> list[str]:
    test = next(iter(runs)).test
    if not test.get("annotations") and not test.get("images"):
        return [_UNKNOWN]
    return [] if test.get("sha256") else [_BY_NAME]


def _link(cells: Sequence[Cell]) -> None:
    """Give each cell its float model and its naive baseline."""
    for cell in cells:
        if cell.is_float:
            continue
        models = [c for c in cells if c.is_float and c.model == cell.model]
        own = cell.first.run.results.float_row
        same = [c for c in models if own is not None and c.first.row.metrics == own.metrics]
        cell.float_cell = next(iter(same or models), None)
        if not cell.is_baseline:
            cell.minmax_cell = _baseline(cell, cells)


def _baseline(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """Min-max of the same bits and scope: the nearest in qconfig and number of images.

    All of the qconfig but its target must be equal: a run for another runtime often has none.
    """
    wanted = _what_is_quantized(cell)
    found = [c for c in cells if c.is_baseline and _what_is_quantized(c) == wanted]
    images, qconfig = cell.first.row.images, cell.first.qconfig
    found.sort(key=lambda c: (c.first.qconfig != qconfig, c.first.row.images != images))
    return found[0] if found else None


def _what_is_quantized(cell: Cell) -> tuple[Any, ...]:
    row = cell.first.row
    rest = {key: value for key, value in cell.first.qconfig.items() if key != "target"}
    return cell.model, row.scope, row.w_bits, row.a_bits, rest


def _order(cell: Cell, key: str) -> tuple[Any, ...]:
    row, metric = cell.first.row, cell.metric(key)
    value = metric.mean if metric else float("-inf")
    return (
        cell.model,
        not cell.is_float,
        -row.w_bits,
        -row.a_bits,
        row.scope,
        not cell.is_baseline,
        -value,
        cell.first.runtime != SIMULATED,
        cell.first.runtime,
        row.method,
    )
