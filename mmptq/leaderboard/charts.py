"""The plots of a board: the main metric over size and over bit operations."""

from mmptq.evaluation.result_table import NOTHING, title
from mmptq.leaderboard.boards import Board
from mmptq.leaderboard.cells import Cell
from mmptq.leaderboard.columns import Column, make_columns, scale
from mmptq.leaderboard.plot import NUM_COLORS, Point, scatter, shape
from mmptq.leaderboard.samples import SIMULATED
from mmptq.webpage import for_html

_COSTS = {"size_mb": "size in MB", "gbops": "GBOPs"}
_KINDS = {
    "float": "float",
    "minmax": "naive min-max",
    "simulated": "quantized, simulated",
    "runtime": "quantized, in a runtime",
}
_LARGEST = 1e15  # of a metric; what is beyond is no measurement, and no axis


def charts(board: Board, ids: dict[int, str]) -> str:
    """Figures with a common legend; nothing where no row has both a merit and a cost.

    Args:
        board: Whose rows are drawn.
        ids: Of the rows, by ``id(cell)``.
    """
    models = list(dict.fromkeys(cell.model for cell in board.cells))
    figures, seen = [], {}
    columns = make_columns(board)
    for cost, name in _COSTS.items():
        points = []
        for cell in board.cells:
            color = models.index(cell.model)
            point = _point(board, cell, cost, ids[id(cell)], color, columns)
            if point is not None:
                points.append(point)
                seen[(cell.model, point.shape)] = point.color
        if points:
            plot = scatter(points, f"{name} (logarithmic)", title(board.key or ""))
            figures.append(f"<figure>{plot}</figure>")
    if not figures:
        return ""
    return f'<div class="plots">{"".join(figures)}</div>{_legend(models, {s for _, s in seen})}'


def _point(
    board: Board, cell: Cell, cost: str, row: str, color: int, columns: list[Column]
) -> Point | None:
    key = board.key or ""
    merit, price = cell.metric(key), cell.cost(cost)
    if merit is None or price is None or price.mean <= 0 or abs(merit.mean) > _LARGEST:
        return None
    return Point(
        row=row,
        x=price.mean,
        y=scale(key) * merit.mean,
        text=_told(cell, columns),
        shape=_shape(cell),
        color=color,
        low=cell.interval.low if cell.interval else None,
        high=cell.interval.high if cell.interval else None,
    )


def _told(cell: Cell, columns: list[Column]) -> str:
    """What a point says: all that stands in its row."""
    told = []
    for column in columns:
        text, note = column.text(cell), column.note(cell)
        if text != NOTHING:
            told.append(f"{column.title}: {text}{f' ({note})' if note else ''}")
    return "; ".join(told)


def _shape(cell: Cell) -> str:
    if cell.is_float:
        return "float"
    if cell.is_baseline:
        return "minmax"
    return "simulated" if cell.first.runtime == SIMULATED else "runtime"


def _legend(models: list[str], kinds: set[str]) -> str:
    entries = [_entry(f"c{i % NUM_COLORS} simulated", "simulated", m) for i, m in enumerate(models)]
    if len(models) < 2:
        entries = []
    entries += [_entry(f"c5 {k}", k, text) for k, text in _KINDS.items() if k in kinds]
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _entry(look: str, kind: str, text: str) -> str:
    mark = f'<svg viewBox="0 0 16 16" aria-hidden="true">{shape(kind, 8, 8)}</svg>'
    return f'<li class="key {look}">{mark}<span class="dim">{for_html(text)}</span></li>'
