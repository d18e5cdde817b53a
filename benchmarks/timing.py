"""Seconds of what is to be compared; light, for processes whose memory is measured."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
Clock = Callable[[], float]


def timed(run: Callable[[], T], clock: Clock = time.perf_counter) -> tuple[T, float]:
    """What ``run`` returns, and its seconds."""
    start = clock()
    result = run()
    return result, clock() - start


def in_turns(
    runs: Sequence[Callable[[], object]], rounds: int, clock: Clock = time.perf_counter
) -> list[list[float]]:
    """Seconds of each of ``runs`` in each round; one round more comes first and does not count.

    They alternate, so that other load on the machine hits all.
    """
    seconds = [[timed(run, clock)[1] for run in runs] for _ in range(rounds + 1)]
    return [list(column) for column in zip(*seconds[1:], strict=True)]
