"""How far the calibration is."""

import atexit
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mmptq.evaluation.result_table import format_seconds
from mmptq.registry import HOOKS


def _draws_bars() -> bool:
    console = Console(file=sys.stdout)
    in_notebook = console.is_jupyter and find_spec("ipywidgets") is not None
    return console.is_terminal or in_notebook


@HOOKS.register_module()
class CalibrationProgressHook(Hook):
    """Shows each task of a calibration: a bar with an ETA on a terminal, else log lines.

    Args:
        interval: Least number of seconds between two log lines of a task.
        bar: Whether to draw a bar; by default where standard output is a terminal, or a notebook
            that has ``ipywidgets``, which rich draws with there.
    """

    def __init__(self, interval: float = 5.0, bar: bool | None = None) -> None:
        self.interval = interval
        self.bar = _draws_bars() if bar is None else bar
        self._tasks: dict[str, _Bar | _Lines] = {}
        self._progress: Progress | None = None

    def before_calib_task(self, runner: Any, name: str, total: int) -> None:
        """Start showing the task ``name`` of ``total`` items."""
        if not is_main_process():
            return
        self._tasks.pop(name, None)  # a task that was broken off and starts anew
        if self.bar:
            self._tasks[name] = _Bar(self._start_bars(), name, total)
        else:
            self._tasks[name] = _Lines(name, total, self.interval)

    def after_calib_iter(self, runner: Any, name: str, index: int) -> None:
        """Item ``index`` (from 0) of the task is done."""
        if name in self._tasks:
            self._tasks[name].update(index + 1)

    def after_calib_task(self, runner: Any, name: str) -> None:
        """The task is done."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.finish()
        if not self._tasks:
            self._stop_bars()

    def before_test(self, runner: Any) -> None:
        """An evaluation writes lines of its own."""
        self._stop_bars()

    def after_run(self, runner: Any) -> None:
        """Leave the terminal as it was."""
        self._stop_bars()

    def _start_bars(self) -> Progress:
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=Console(file=sys.stdout),
            )
            self._progress.start()
            # After an exception no further event comes; the cursor must not stay hidden.
            atexit.register(self._stop_bars)
        return self._progress

    def _stop_bars(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks.clear()
            atexit.unregister(self._stop_bars)


class _Rate:
    """Items per second since the first report, which after a resume need not be the first item."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.started = clock()
        self._skipped: int | None = None

    def elapsed(self) -> float:
        return self._clock() - self.started

    def per_second(self, done: int) -> float:
        if self._skipped is None:
            self._skipped = done - 1
        return (done - self._skipped) / max(self.elapsed(), 1e-6)


class _Bar:
    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self._progress = progress
        self._rate = _Rate(time.monotonic)
        self._total = total
        self._task: TaskID = progress.add_task(name, total=total, rate="")

    def update(self, done: int) -> None:
        rate = f"{self._rate.per_second(done):.1f}/s"
        self._progress.update(self._task, completed=min(done, self._total), rate=rate)

    def finish(self) -> None:
        self._progress.update(self._task, completed=self._total)


class _Lines:
    def __init__(
        self,
        name: str,
        total: int,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._total, self._interval, self._clock = name, total, interval, clock
        self._rate = _Rate(clock)
        self._last = clock()
        self._done = 0

    def update(self, done: int) -> None:
        self._done = done
        rate = self._rate.per_second(done)
        if self._clock() - self._last < self._interval:
            return
        self._last = self._clock()
        remaining = format_seconds(max(self._total - done, 0) / rate)
        self._log(f"{min(done, self._total)}/{self._total}, {rate:.1f}/s, ETA {remaining}")

    def finish(self) -> None:
        self._log(f"{self._done}/{self._total} done in {format_seconds(self._rate.elapsed())}")

    def _log(self, text: str) -> None:
        print_log(f"{self._name}: {text}", logger="current")
