"""Results of many runs as one table, and as one page that needs no network."""

from mmptq.leaderboard.boards import Board, make_boards
from mmptq.leaderboard.cells import Cell
from mmptq.leaderboard.intervals import add_intervals
from mmptq.leaderboard.page import to_html
from mmptq.leaderboard.runs import Run, read_runs
from mmptq.leaderboard.tables import to_csv, to_markdown

__all__ = [
    "Board",
    "Cell",
    "Run",
    "add_intervals",
    "make_boards",
    "read_runs",
    "to_csv",
    "to_html",
    "to_markdown",
]
