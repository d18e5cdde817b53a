"""Short names of float weights."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from mmptq.leaderboard.runs import Run

_ENDING = re.compile(r"(-[0-9a-f]{8})?\.\w+$")  # torch's hub puts a hash before it


def model_names(runs: Iterable[Run]) -> Callable[[Run], str]:
    """A short name of each run's float weights; two of one file name keep their folders apart."""
    weights = {id(run): _weights(run) for run in runs}
    different = set(weights.values())

    def name(run: Run) -> str:
        parts = Path(weights[id(run)]).parts
        for count in range(1, len(parts) + 1):
            tail = parts[-count:]
            same = [other for other in different if Path(other).parts[-count:] == tail]
            if len(same) == 1:
                break
        stem = _ENDING.sub("", tail[-1])
        stems = [_ENDING.sub("", Path(other).name) for other in different]
        return stem if stems.count(stem) == 1 else "/".join(tail)

    return name


def _weights(run: Run) -> str:
    given = run.results.float_checkpoint
    if not given:
        return run.results.config or str(run.folder)
    path = Path(given)
    return str(path.resolve()) if path.exists() else given
