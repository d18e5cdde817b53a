"""Rows of several runs that differ in their seed alone, as one: mean and spread."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmptq.evaluation.result_table import is_absent
from mmptq.leaderboard.runs import Run
from mmptq.leaderboard.samples import BASELINE, SIMULATED, Sample, Spread, edge_bits


@dataclass
class Interval:
    """Between the percentiles 2.5 and 97.5 of the draws, in points of 100."""

    low: float
    high: float


@dataclass
class Cell:
    """One line of the leaderboard.

    Args:
        model: Name of the float weights.
        rows: Of equal settings, at least one; several runs may hold the very same.
        labels: Whether the calibration read labels; ``None`` where the file does not say.
        float_cell: The float model's.
        minmax_cell: The naive baseline's at the same settings.
        interval: Of the main metric, where detections were kept.
        gain: Of its difference to the float model.
    """

    model: str
    rows: list[Sample]
    labels: bool | None = None
    float_cell: "Cell | None" = None
    minmax_cell: "Cell | None" = None
    interval: Interval | None = None
    gain: Interval | None = None

    @property
    def first(self) -> Sample:
        """The one that stands for what all have in common."""
        return self.rows[0]

    @property
    def samples(self) -> list[Sample]:
        """The rows, equal ones once."""
        found: list[Sample] = []
        for sample in self.rows:
            if not any(sample.equals(other) for other in found):
                found.append(sample)
        return found

    @property
    def is_float(self) -> bool:
        """Whether it is the float model."""
        return self.first.row.is_float

    @property
    def is_baseline(self) -> bool:
        """Whether it is naive min-max."""
        return self.first.method == BASELINE and self.first.runtime == SIMULATED

    @property
    def seeds(self) -> list[int]:
        """Of the rows; none of the float model's."""
        return [] if self.is_float else sorted({sample.seed for sample in self.rows})

    def metric(self, key: str, seeds: Sequence[int] | None = None) -> Spread | None:
        """A metric over the seeds, all or some."""
        samples = [s for s in self.samples if seeds is None or s.seed in seeds]
        values = (sample.row.metrics.get(key, math.nan) for sample in samples)
        return Spread.of(None if is_absent(value, key) else value for value in values)

    def cost(self, key: str) -> Spread | None:
        """``size_mb``, ``gbops``, ``mac_share``, ``seconds`` or ``ms`` over the seeds."""
        return Spread.of(getattr(sample.row, key) for sample in self.samples)

    @property
    def edge_bits(self) -> str:
        """Bits of the layers that read the image and of those that predict."""
        return "-" if self.is_float else edge_bits(self.first.qconfig)

    @property
    def environments(self) -> list[dict[str, Any]]:
        """Of the rows, each once."""
        found: list[dict[str, Any]] = []
        for sample in self.rows:
            if sample.run.results.environment not in found:
                found.append(sample.run.results.environment)
        return found


def make_cells(runs: Iterable[Run], model_of: Callable[[Run], str]) -> list[Cell]:
    """Join the rows of ``runs`` that differ in the seed alone; equal ones count once.

    Args:
        runs: Of one test set.
        model_of: Name of a run's float weights.
    """
    cells: dict[str, Cell] = {}
    for run in runs:
        for row in run.results.rows:
            sample = Sample(run, row)
            if row.is_float and not row.metrics:
                continue  # not evaluated
            model = model_of(run)
            cells.setdefault(_key(sample, model), Cell(model, [])).rows.append(sample)
    for cell in cells.values():
        cell.rows.sort(key=lambda sample: sample.seed)
        cell.labels = _labels(cell)
    return list(cells.values())


def _key(sample: Sample, model: str) -> str:
    row = sample.row
    parts: list[Any] = [model, sample.method, sample.runtime, row.scope, row.w_bits, row.a_bits]
    parts.append(sample.settings)
    if row.is_float:
        # Float weights have no seed: another figure is that of another test or machine.
        parts += [sorted(row.metrics.items()), row.size_mb]
    if row.ms is not None:
        environment = sample.run.results.environment
        parts += [environment.get("device"), environment.get("threads")]
    return json.dumps(parts, sort_keys=True, default=str)


def _labels(cell: Cell) -> bool | None:
    if cell.is_float or (cell.is_baseline and "steps" not in cell.first.settings):
        return False
    known = [sample.run.results.calibration.get("labels") for sample in cell.rows]
    return None if None in known else any(known)
