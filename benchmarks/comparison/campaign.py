"""All cells of a comparison, one after another: how far it is, what failed, what it will take."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cells import Cells
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from comparison.estimate import Estimate
from comparison.models import MODELS, main_figure
from comparison.plan import ERROR_FILE, Cell, state

Measure = Callable[[Cell], dict[str, Any]]
MISSING = ("new", "begun", "failed")


class Failure(NamedTuple):
    """A cell that could not be measured.

    Args:
        cell: Which.
        error: Its type and message.
    """

    cell: Cell
    error: str


class Campaign:
    """Measures what is missing.

    Args:
        cells: Where figures are kept.
        work_dir: Where the cells' folders are.
        console: Where progress is shown.
        again: Measure cells of another recipe anew, too.
    """

    def __init__(
        self, cells: Cells, work_dir: Path, console: Console | None = None, again: bool = False
    ) -> None:
        self._cells, self._work_dir = cells, work_dir
        self._console = console or Console(stderr=True)
        self._states = (*MISSING, "other recipe") if again else MISSING

    def missing(self, wanted: Sequence[Cell]) -> list[Cell]:
        """Those to be measured, in their order."""
        return [cell for cell in wanted if self.state(cell) in self._states]

    def state(self, cell: Cell) -> str:
        """See :func:`comparison.plan.state`."""
        return state(cell, self._cells.values, self._work_dir)

    def run(self, wanted: Sequence[Cell], measure: Measure) -> list[Failure]:
        """Measure what is missing; a failure is noted in the cell's folder, and the others go on.

        Returns:
            What failed.
        """
        self._warn_about_others(wanted)
        todo, failures = self.missing(wanted), list[Failure]()
        with self._progress(len(todo)) as advance:
            for i, cell in enumerate(todo):
                advance(f"{cell.name} ({self._rest(todo[i:])})", i)
                try:
                    figures = measure(cell)
                except Exception as error:  # noqa: BLE001  whatever it is: the others go on
                    failures.append(self._note(cell, error))
                    continue
                (cell.folder(self._work_dir) / ERROR_FILE).unlink(missing_ok=True)
                self._cells.put(cell.name, figures)
                said = f"[{i + 1}/{len(todo)}] {cell.name}: {summary(cell, figures)}"
                self._print(f"{said}; {self._rest(todo[i + 1 :])}")
        return failures

    def dry_run(self, wanted: Sequence[Cell]) -> Iterator[str]:
        """A line a cell, and a last one for all."""
        estimate = Estimate(self._cells.values)
        for cell in wanted:
            found, seconds = self.state(cell), estimate(cell)
            said = f"about {duration(seconds)}" if seconds is not None else "not known how long"
            yield f"{found:<13} {cell.name}" + (f": {said}" if found in self._states else "")
        todo = self.missing(wanted)
        yield f"{len(todo)} of {len(wanted)} cells to measure; {self._rest(todo)}"

    def _rest(self, cells: Sequence[Cell]) -> str:
        found = list(map(Estimate(self._cells.values), cells))
        known = [seconds for seconds in found if seconds is not None]
        said = [f"about {duration(sum(known))}"] if known or not cells else []
        if len(known) < len(found):
            said.append(f"{len(found) - len(known)} cells of unknown length")
        return f"{' and '.join(said)} left"

    def _note(self, cell: Cell, error: Exception) -> Failure:
        folder = cell.folder(self._work_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ERROR_FILE).write_text("".join(traceback.format_exception(error)))
        failure = Failure(cell, f"{type(error).__name__}: {error}")
        self._print(f"{cell.name} failed: {failure.error} ({folder / ERROR_FILE})")
        return failure

    def _warn_about_others(self, wanted: Sequence[Cell]) -> None:
        others = [cell for cell in wanted if self.state(cell) == "other recipe"]
        for cell in others if "other recipe" not in self._states else ():
            self._print(
                f"{cell.name}: was measured by another recipe than its method has now; --again "
                "measures it anew"
            )

    @contextmanager
    def _progress(self, total: int) -> Iterator[Callable[[str, int], None]]:
        """A bar on a terminal; the lines of the cells stand anywhere."""
        columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(
            *columns,
            TextColumn("{task.description}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        ) as progress:
            task = progress.add_task("", total=total)
            yield lambda text, done: progress.update(task, description=text, completed=done)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def summary(cell: Cell, figures: Mapping[str, Any]) -> str:
    """The figures that matter."""
    metric = MODELS[cell.model].metric
    shown = "top-1" if metric == "top1" else "mAP"
    parts = [f"{shown} {main_figure(figures, metric):.1f}"]
    if figures.get("distance") is not None:
        parts.append(f"distance {figures['distance']:.4f}")
    return ", ".join([*parts, f"{figures['cell_seconds']:.0f} s"])


def duration(seconds: float) -> str:
    """As ``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
