"""Starts worker.py in one process and in two, in turns, and keeps what it says."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arguments import ROOT
from cells import Cells, read_json

from mmptq.errors import MmptqError

WORKER = ROOT / "benchmarks/scaling_parts/worker.py"
PROCESSES = (1, 2)
WITHIN = ("metric", "searching", "adjusting")  # of other parts
TOGETHER = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node")


@dataclass(frozen=True)
class Amount:
    """How much of each part is done; the same in all processes together.

    Args:
        images: Calibration images.
        evals: Evaluations of the search.
        iters: Iterations a unit.
    """

    images: int
    evals: int
    iters: int

    @property
    def tested(self) -> int:
        """Test images."""
        return self.images

    @property
    def batch(self) -> int:
        """Images in a mini-batch."""
        return self.images // 8

    def options(self) -> list[str]:
        """The worker's."""
        names = ("images", "tested", "evals", "iters", "batch")
        return [f"--{name}={getattr(self, name)}" for name in names]


@dataclass(frozen=True)
class Point:
    """One run.

    Args:
        config: Path of the config.
        amount: How much is done.
        processes: By how many.
        repeat: Which of equal runs.
    """

    config: str
    amount: Amount
    processes: int
    repeat: int

    @property
    def name(self) -> str:
        """Of the cell."""
        amount = self.amount
        done = f"images={amount.images},evals={amount.evals},iters={amount.iters}"
        return f"{Path(self.config).stem}/{done}/processes={self.processes}/{self.repeat}"

    def measure(self, more: Sequence[str]) -> dict[str, Any]:
        """Start the processes; what they say, and the seconds that stand in no part."""
        launcher = [*TOGETHER, str(self.processes)] if self.processes > 1 else []
        options = [*self.amount.options(), *more]
        options += ["--launcher=pytorch"] if launcher else []
        start = time.perf_counter()
        cell = answer([*launcher, str(WORKER), self.config, *options])
        wall, seconds = time.perf_counter() - start, cell["seconds"]
        seconds["start-up"] = wall - sum(v for name, v in seconds.items() if name not in WITHIN)
        return cell


def points(config: str, amounts: Sequence[Amount], repeats: int) -> list[Point]:
    """All runs; one process and two follow each other, so that other load hits both."""
    return [
        Point(config, amount, processes, repeat)
        for repeat in range(repeats)
        for amount in amounts
        for processes in PROCESSES
    ]


def forward(cells: Cells, config: str, measures: bool, more: Sequence[str] = ()) -> dict[str, Any]:
    """The float model's forward, and its size; nothing if it is not measured."""
    name = f"{Path(config).parent.name}_{Path(config).stem}/forward"
    if not measures:
        return cells.values.get(name, {})
    return cells.measure(name, lambda: answer([str(WORKER), config, "--forward", *more]))


def answer(command: Sequence[str]) -> dict[str, Any]:
    """What a worker writes.

    Raises:
        MmptqError: It ends with an error.
    """
    folder = Path(tempfile.mkdtemp(prefix="scaling_"))
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(
            [sys.executable, *command, f"--out={folder / 'out.json'}"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MmptqError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        return read_json(folder / "out.json")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
