"""The measured table: seconds of one process and of two, and whether results are as promised."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from markdown_table import table

Cells = Mapping[int, Sequence[Mapping[str, Any]]]  # by the number of processes

AIM = 0.6


class Promise(NamedTuple):
    """What is promised of a part's result with more processes.

    Args:
        title: The part.
        result: What it is.
        seen: What the runs say of it, and whether that is what is promised.
        shared: Whether its images are shared, so that the aim holds for it.
    """

    title: str
    result: str
    seen: Callable[[Cells], tuple[str, bool]]
    shared: bool = True


def same(*keys: str) -> Callable[[Cells], tuple[str, bool]]:
    """All runs came to one result under ``keys``."""

    def seen(cells: Cells) -> tuple[str, bool]:
        found = [[run["results"][key] for key in keys] for runs in cells.values() for run in runs]
        equal = all(one == found[0] for one in found)
        return ("yes", True) if equal else ("**no**", False)

    return seen


def one_model(cells: Cells) -> tuple[str, bool]:
    """Processes end in one model; how much of the units' losses is left in the mean, beside."""
    found = {n: [run["results"]["reconstruction"] for run in runs] for n, runs in cells.items()}
    left = (f"{statistics.median(run['left'] for run in runs):.3f}" for runs in found.values())
    equal = all(run["one_model"] for runs in found.values() for run in runs)
    return f"{'yes' if equal else '**no**'}; of the losses are left {' and '.join(left)}", equal


def nothing(cells: Cells) -> tuple[str, bool]:
    """Of what has no result."""
    return "", True


PROMISES = {
    "statistics": Promise("statistics", "the same bits", same("statistics")),
    "ranges": Promise("ranges from statistics", "the same bits", same("ranges"), shared=False),
    "evaluation": Promise("evaluation", "the same metrics", same("evaluation")),
    "search": Promise("LAPQ's search", "the same losses and model, bit for bit", same("search")),
    "reconstruction": Promise(
        "reconstruction", "one model in all processes; other random numbers", one_model
    ),
    "start-up": Promise("start-up, checks", "", nothing, shared=False),
}
COLUMNS = ("part", "1 process, s", "2 processes, s", "ratio", "in pairs", "aim", "promised", "seen")


def seconds(cells: Cells, part: str) -> dict[int, list[float]]:
    """Of each run, by the number of processes."""
    return {n: [run["seconds"][part] for run in runs] for n, runs in cells.items()}


def markdown(cells: Cells) -> str:
    """The table of one size."""
    rows = []
    for part, promise in PROMISES.items():
        one, two = seconds(cells, part).values()
        pairs = [b / a for a, b in zip(one, two, strict=True)]
        medians = statistics.median(one), statistics.median(two)
        rows.append(
            [
                promise.title,
                *(f"{value:.2f}" for value in medians),
                f"{medians[1] / medians[0]:.2f}",
                f"{min(pairs):.2f} to {max(pairs):.2f}",
                f"{AIM}" if promise.shared else "not shared",
                promise.result,
                promise.seen(cells)[0],
            ]
        )
    return table(COLUMNS, rows)


def broken(cells: Cells) -> list[str]:
    """The parts whose promise was not seen to hold."""
    return [promise.title for promise in PROMISES.values() if not promise.seen(cells)[1]]
