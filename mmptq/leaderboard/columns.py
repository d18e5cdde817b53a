"""What stands in the columns, in Markdown and in the page."""

from collections.abc import Callable
from dataclasses import dataclass

from mmptq.evaluation.result_table import (
    NOTHING,
    format_cost,
    format_metric,
    format_seconds,
    is_fraction,
    title,
)
from mmptq.leaderboard.boards import Board
from mmptq.leaderboard.cells import Cell, Interval
from mmptq.leaderboard.samples import Spread, target_name

Value = float | str | None


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        title: Heading.
        text: What stands in a cell.
        value: What it is sorted by; ``None`` goes last.
        numeric: Whether it is set to the right.
        note: Smaller, under the text: an interval.
        hint: What the heading means.
    """

    title: str
    text: Callable[[Cell], str]
    value: Callable[[Cell], Value]
    numeric: bool = True
    note: Callable[[Cell], str] = lambda cell: ""
    hint: str = ""


def make_columns(board: Board) -> list[Column]:
    """The columns of a board, without those in which nothing would stand."""
    main = _accuracy(board.key) if board.key else []
    others = [_metric(key) for key in board.keys[1:]]
    picked = [*_names(), *main, *_costs(), *_quantization(), *_calibration(), *others]
    needed = ("method", "model", "bits")
    return [
        column
        for column in picked
        if column.title in needed or any(column.text(cell) != NOTHING for cell in board.cells)
    ]


def bits(cell: Cell) -> str:
    """Nominal bit-widths."""
    return cell.first.row.bits


def scale(key: str) -> float:
    """What a metric is multiplied by to be shown."""
    return 100.0 if is_fraction(key) else 1.0


def difference(cell: Cell, other: Cell | None, key: str) -> float | None:
    """Of the means, as shown; over the seeds of ``cell``, where ``other`` has them all."""
    if other is None:
        return None
    common = cell.seeds if set(cell.seeds) <= set(other.seeds) else None
    own, reference = cell.metric(key), other.metric(key, common)
    return None if own is None or reference is None else scale(key) * (own.mean - reference.mean)


def _names() -> list[Column]:
    return [
        _text("method", lambda cell: cell.first.method),
        _text("model", lambda cell: cell.model, "float weights"),
        Column(
            "bits",
            bits,
            lambda cell: 1000 * cell.first.row.w_bits + cell.first.row.a_bits,
            numeric=False,
            hint="of weights (W) and activations (A)",
        ),
        _text("runtime", lambda cell: cell.first.runtime, "what computed the figures"),
    ]


def _quantization() -> list[Column]:
    return [
        _text("scope", lambda cell: cell.first.row.scope, "what is quantized"),
        _text(
            "first, last",
            lambda cell: cell.edge_bits,
            "bits of the layers that read the image, and of those that predict; * where single "
            "layers are set otherwise",
        ),
        _text("target", _target, "the runtime whose rules held in the calibration"),
        _cost("MACs", "mac_share", _percent, "share of the multiply-adds that is quantized"),
    ]


def _accuracy(key: str) -> list[Column]:
    return [
        Column(
            title(key),
            lambda cell: format_spread(key, cell.metric(key)),
            lambda cell: _mean(cell.metric(key)),
            note=lambda cell: _interval(cell.interval, ".1f"),
            hint="mean and standard deviation over the seeds; below it the 95 % interval",
        ),
        Column(
            "vs float",
            lambda cell: _signed(difference(cell, cell.float_cell, key), key),
            lambda cell: difference(cell, cell.float_cell, key),
            note=lambda cell: _interval(cell.gain, "+.1f"),
            hint="difference to the float model; below it its 95 % interval, on the same images",
        ),
        Column(
            "vs min-max",
            lambda cell: _signed(difference(cell, cell.minmax_cell, key), key),
            lambda cell: difference(cell, cell.minmax_cell, key),
            hint="difference to naive min-max at the same bits and scope, and of the same seeds "
            "where there are all",
        ),
    ]


def _metric(key: str) -> Column:
    return Column(
        title(key),
        lambda cell: format_spread(key, cell.metric(key)),
        lambda cell: _mean(cell.metric(key)),
    )


def _costs() -> list[Column]:
    return [
        _cost("size MB", "size_mb", format_cost, "megabytes (10**6 bytes); of exports the file's"),
        _cost("GBOPs", "gbops", format_cost, "bit operations an image, in 10**9"),
        _cost("ms", "ms", lambda ms: f"{ms:.1f}", "milliseconds an image in the runtime"),
    ]


def _calibration() -> list[Column]:
    return [
        Column(
            "images",
            lambda cell: str(cell.first.row.images or NOTHING),
            lambda cell: cell.first.row.images or None,
            hint="of the calibration",
        ),
        _text("labels", _labels, "whether the calibration read labels; ? where not recorded"),
        _text("seeds", seeds, "of the calibration"),
        _cost("time", "seconds", format_seconds, "of the calibration"),
    ]


def _text(title: str, text: Callable[[Cell], str], hint: str = "") -> Column:
    return Column(title, text, text, numeric=False, hint=hint)


def _cost(title: str, key: str, form: Callable[[float], str], hint: str) -> Column:
    def text(cell: Cell) -> str:
        found = cell.cost(key)
        return NOTHING if found is None else form(found.mean)

    return Column(title, text, lambda cell: _mean(cell.cost(key)), hint=hint)


def format_spread(key: str, spread: Spread | None) -> str:
    """Such as ``58.5 ± 0.3``."""
    if spread is None:
        return NOTHING
    text = format_metric(key, spread.mean)
    return text if spread.std is None else f"{text} ± {scale(key) * spread.std:.1f}"


def seeds(cell: Cell) -> str:
    """Such as ``0, 1, 2``; many as their number."""
    found = cell.seeds
    return f"{len(found)} seeds" if len(found) > 3 else ", ".join(map(str, found)) or NOTHING


def _target(cell: Cell) -> str:
    return NOTHING if cell.is_float else target_name(cell.first.qconfig)


def _labels(cell: Cell) -> str:
    if cell.is_float:
        return NOTHING
    return {None: "?", True: "used", False: "no"}[cell.labels]


def _mean(spread: Spread | None) -> float | None:
    return None if spread is None else spread.mean


def _signed(value: float | None, key: str) -> str:
    if value is None:
        return NOTHING
    return f"{round(value, 1) + 0.0:+.1f}" if scale(key) != 1 else f"{value:+.3g}"


def _interval(interval: Interval | None, form: str) -> str:
    return f"{interval.low:{form}} to {interval.high:{form}}" if interval else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
