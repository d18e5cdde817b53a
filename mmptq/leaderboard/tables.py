"""Leaderboards as Markdown and as CSV."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmptq.evaluation.environment import environment_text
from mmptq.leaderboard.boards import Board
from mmptq.leaderboard.cells import Cell
from mmptq.leaderboard.columns import Column, difference, make_columns, scale
from mmptq.webpage import for_csv, for_markdown


def to_markdown(boards: Sequence[Board], title: str = "Leaderboard") -> str:
    """A table for each board, in GitHub's Markdown; the best quantized row is bold."""
    parts = [f"# {for_markdown(title)}\n"]
    for board in boards:
        parts.append(f"## {for_markdown(board.title)}\n")
        parts += [f"{for_markdown(note)}\n" for note in board.notes]
        parts.append(_table(board))
    return "\n".join(parts)


def best_cell(board: Board) -> Cell | None:
    """The quantized cell with the best main metric, the first of equals."""
    scores = [(c.metric(board.key or ""), c) for c in board.cells if not c.is_float]
    known = [(score.mean, cell) for score, cell in scores if score is not None]
    return max(known, key=lambda pair: pair[0])[1] if known else None


def _table(board: Board) -> str:
    columns = make_columns(board)
    best = best_cell(board)
    lines = [
        [column.title for column in columns],
        ["---:" if column.numeric else "---" for column in columns],
    ]
    for cell in board.cells:
        texts = [_cell(column, cell) for column in columns]
        lines.append([f"**{text}**" for text in texts] if cell is best else texts)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(column: Column, cell: Cell) -> str:
    note = column.note(cell)
    return for_markdown(f"{column.text(cell)} ({note})" if note else column.text(cell))


_HEAD = ("test_set", "model", "method", "runtime", "scope", "w_bits", "a_bits", "first_last")
_OF_METRIC = ("metric", "value", "std", "low", "high", "vs_float", "vs_float_low", "vs_float_high")
_COSTS = ("size_mb", "gbops", "mac_share", "ms", "seconds")
_TAIL = ("images", "labels", "seeds", "runs", "environment", "files")


def to_csv(boards: Sequence[Board]) -> str:
    """One line a cell, full precision; the main metric in percent where it is a fraction.

    Every other metric has a column of its own name, as the evaluator returns it.
    """
    others = list(dict.fromkeys(key for board in boards for key in board.keys))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_HEAD, *_OF_METRIC, "vs_minmax", *_COSTS, *_TAIL, *map(for_csv, others)])
    for board in boards:
        for cell in board.cells:
            measured = [cell.metric(key) for key in others]
            values = [*_head(board, cell), *_measured(board, cell), *_tail(cell)]
            writer.writerow(values + [None if m is None else m.mean for m in measured])
    return buffer.getvalue()


def _head(board: Board, cell: Cell) -> list[Any]:
    row = cell.first.row
    names = (board.title, cell.model, cell.first.method, cell.first.runtime, row.scope)
    return [*map(for_csv, names), row.w_bits, row.a_bits, for_csv(cell.edge_bits)]


def _measured(board: Board, cell: Cell) -> list[Any]:
    key = board.key or ""
    found, factor = cell.metric(key), scale(key)
    std = None if found is None or found.std is None else factor * found.std
    ends = [
        end
        for interval in (cell.interval, cell.gain)
        for end in ((interval.low, interval.high) if interval else (None, None))
    ]
    return [
        for_csv(key),
        None if found is None else factor * found.mean,
        std,
        *ends[:2],
        difference(cell, cell.float_cell, key),
        *ends[2:],
        difference(cell, cell.minmax_cell, key),
    ]


def _tail(cell: Cell) -> list[Any]:
    costs = [cell.cost(key) for key in _COSTS]
    files = sorted({sample.run.file for sample in cell.rows})
    return [
        *(None if found is None else found.mean for found in costs),
        cell.first.row.images,
        {None: "", True: "used", False: "no"}[cell.labels],
        " ".join(map(str, cell.seeds)),
        len(files),
        for_csv("; ".join(environment_text(e) for e in cell.environments)),
        for_csv(" ".join(str(Path(file)) for file in files)),
    ]
