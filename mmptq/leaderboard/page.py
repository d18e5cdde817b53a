"""The leaderboard as one HTML file: no network, complete without JavaScript.

Nothing that comes from data can run in it: text is escaped, links are relative paths, data reach
the script as attributes alone, and the page's own policy lets no other script or style than its own
run.
"""

from collections.abc import Sequence
from pathlib import Path

from mmptq.evaluation.result_table import NOTHING
from mmptq.leaderboard.boards import Board
from mmptq.leaderboard.cells import Cell
from mmptq.leaderboard.charts import charts
from mmptq.leaderboard.columns import Column, bits, make_columns
from mmptq.leaderboard.details import details, links
from mmptq.leaderboard.tables import best_cell
from mmptq.webpage import base_style, for_html, html_page, own_file

_FILTERS = {
    "model": lambda cell: cell.model,
    "method": lambda cell: cell.first.method,
    "bits": bits,
    "scope": lambda cell: cell.first.row.scope,
    "runtime": lambda cell: cell.first.runtime,
}
_HOW_TO_READ = (
    "Rows that differ in the seed alone are one: mean ± standard deviation. Small figures are 95 % "
    "intervals of a paired bootstrap over the test images, where detections were kept; they say "
    "nothing about other calibration images. The dashed lines are Pareto fronts: no row in the "
    "plot is both cheaper and better. Sizes and bit operations are by mmptq's cost model; the size "
    "of an exported model is its file's. Compare rows of one scope only."
)


def to_html(boards: Sequence[Board], folder: Path, title: str = "Leaderboard") -> str:
    """The page.

    Args:
        boards: At least one.
        folder: Where the page will lie; links to configs and pictures lead from there.
        title: Heading.
    """
    runs = sum(board.num_runs for board in boards)
    rows = sum(len(board.cells) for board in boards)
    body = [
        f"<h1>{for_html(title)}</h1>",
        f'<p class="dim">{_count(runs, "run")}, {_count(rows, "row")}, '
        f"{_count(len(boards), 'test set')}.</p>",
        f'<p class="dim">{_HOW_TO_READ}</p>',
        "<noscript><p>Sorting and filtering need JavaScript; the tables are complete "
        "without.</p></noscript>",
        *(_section(i, board, folder) for i, board in enumerate(boards, 1)),
        '<div id="tip" role="status" hidden></div>',
    ]
    style, script = (own_file("mmptq.leaderboard", name) for name in ("page.css", "page.js"))
    return html_page(title, "\n".join(body), base_style() + style, script)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _section(number: int, board: Board, folder: Path) -> str:
    ids = {id(cell): f"r{number}-{i}" for i, cell in enumerate(board.cells, 1)}
    notes = [f'<p class="note">{for_html(note)}</p>' for note in board.notes]
    return "\n".join(
        [
            f'<section class="board" id="set-{number}">\n<h2>{for_html(board.title)}</h2>',
            *notes,
            _controls(board),
            charts(board, ids),
            _table(board, ids, folder),
            "<h3>Settings, environments, files</h3>",
            *(details(cell, ids[id(cell)], folder) for cell in board.cells),
            "</section>",
        ]
    )


def _controls(board: Board) -> str:
    parts = []
    for name, value in _FILTERS.items():
        values = dict.fromkeys(value(cell) for cell in board.cells)
        options = [f'<option value="{for_html(v)}">{for_html(v)}</option>' for v in values]
        parts.append(
            f'<label>{name}<select class="filter" name="{name}"><option value="">all</option>'
            f"{''.join(options)}</select></label>"
        )
    titles = [for_html(column.title) for column in make_columns(board)]
    columns = "".join(f'<option value="{i}">{title}</option>' for i, title in enumerate(titles))
    parts.append(
        f'<label class="narrow">sort by<select class="sort" name="sort">{columns}</select></label>'
    )
    return (
        f'<div class="controls">{"".join(parts)}<button type="button" class="all">show all</button>'
        '<output class="dim"></output></div>'
    )


def _table(board: Board, ids: dict[int, str], folder: Path) -> str:
    columns, best = make_columns(board), best_cell(board)
    head = "".join(_heading(column) for column in columns)
    rows = [_row(cell, columns, ids, folder, cell is best) for cell in board.cells]
    return "\n".join(
        [
            '<div class="scroll" tabindex="0" role="region" aria-label="table"><table>',
            f"<thead><tr>{head}<th>files</th></tr></thead>\n<tbody>",
            *rows,
            "</tbody></table></div>",
        ]
    )


def _heading(column: Column) -> str:
    kind = "number" if column.numeric or column.title == "bits" else "text"
    align = ' class="n"' if column.numeric else ""
    hint = f' title="{for_html(column.hint)}"' if column.hint else ""
    return (
        f'<th scope="col" data-kind="{kind}"{align}{hint}>'
        f'<button type="button">{for_html(column.title)}</button></th>'
    )


def _row(
    cell: Cell, columns: Sequence[Column], ids: dict[int, str], folder: Path, best: bool
) -> str:
    own = ids[id(cell)]
    data = {name: value(cell) for name, value in _FILTERS.items()}
    for name, other in (("float", cell.float_cell), ("minmax", cell.minmax_cell)):
        if other is not None:
            data[name] = ids[id(other)]
    kind = "best" if best else "base" if cell.is_float or cell.is_baseline else ""
    attributes = "".join(f' data-{name}="{for_html(value)}"' for name, value in data.items())
    cells = "".join(_cell(column, cell) for column in columns)
    files = f'{links(cell, folder)} <a class="more" href="#{own}-inside">settings</a>'
    last = f'<td data-label="files">{files}</td>'
    return f'<tr id="{own}" class="{kind}"{attributes}>{cells}{last}</tr>'


def _cell(column: Column, cell: Cell) -> str:
    value, text, note = column.value(cell), column.text(cell), column.note(cell)
    sorted_by = (
        "" if value is None else f"{value:.10g}" if isinstance(value, float | int) else value
    )
    look = ["n"] if column.numeric else ["long"] if len(text) > 24 else []
    look += ["none"] if text == NOTHING else []
    small = f"<small>{for_html(note)}</small>" if note else ""
    return (
        f'<td class="{" ".join(look)}" data-label="{for_html(column.title)}" '
        f'data-v="{for_html(sorted_by)}">{for_html(text)}{small}</td>'
    )
