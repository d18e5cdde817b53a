"""The cells that are one row of a table: all seeds of a model, method and column."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np

from comparison.columns import Column
from comparison.kept import read_draws
from comparison.methods import METHODS
from comparison.models import MODELS, main_figure
from comparison.plan import Cell
from comparison.specs import Spec, find_specs

Figures = Mapping[str, Any]


class Group(NamedTuple):
    """Measured cells that differ in the seed alone.

    Args:
        cells: Not empty.
        figures: Of each.
    """

    cells: tuple[Cell, ...]
    figures: tuple[Figures, ...]

    @property
    def name(self) -> str:
        """``MODEL/COLUMN/METHOD``, or ``MODEL/float``."""
        cell = self.cells[0]
        if cell.spec is None or cell.column is None:
            return cell.name
        name = f"{cell.model}/{cell.column.name}/{cell.spec.name}"
        return f"{name}/{cell.images} images" if cell.images else name

    @property
    def seeds(self) -> list[int]:
        """Those that were measured."""
        return [cell.seed for cell in self.cells]

    @property
    def values(self) -> list[float]:
        """The model's metric with each seed, in percent."""
        metric = MODELS[self.cells[0].model].metric
        return [main_figure(figures, metric) for figures in self.figures]

    def on_seeds(self, seeds: Sequence[int]) -> "Group | None":
        """With these seeds alone; None where one is not measured."""
        kept = [i for i, cell in enumerate(self.cells) if cell.seed in seeds]
        if len(kept) < len(seeds):
            return None
        return Group(tuple(self.cells[i] for i in kept), tuple(self.figures[i] for i in kept))

    def mean(self, key: str) -> float | None:
        """Of a figure over the seeds; None where one lacks it."""
        found = [figures[key] for figures in self.figures if figures.get(key) is not None]
        return mean(found) if len(found) == len(self.figures) else None

    def spread(self) -> tuple[float, float | None]:
        """Mean of the metric, and its standard deviation over the seeds where there are several."""
        values = self.values
        return mean(values), stdev(values) if len(values) > 1 else None

    @property
    def refused(self) -> int:
        """How many of the cells have the start of a step that learned, since its end was worse."""
        return sum(any(not v["kept"] for v in f.get("verdicts", ())) for f in self.figures)

    def draws(self, work_dir: Path) -> np.ndarray | None:
        """The metric's mean over the seeds on each draw of test images; None if one is not kept."""
        found = [read_draws(cell.folder(work_dir)) for cell in self.cells]
        known = [draws for draws in found if draws is not None]
        return np.mean(known, axis=0) if len(known) == len(found) else None


def find_group(
    values: Mapping[str, Figures],
    model: str,
    spec: Spec | None = None,
    column: Column | None = None,
    images: int | None = None,
) -> Group | None:
    """What was measured of a row, with any seed; None where nothing was."""
    wanted = Cell(model, spec, column, 0, images)
    form = re.escape(wanted.name).replace("/seed0", r"/seed(\d+)")
    found = (re.fullmatch(form, name) for name in values)
    seeds = sorted(int(match[1]) for match in found if match and spec)
    cells = [wanted] if spec is None else [wanted._replace(seed=seed) for seed in seeds]
    cells = [cell for cell in cells if cell.name in values]
    return Group(tuple(cells), tuple(values[cell.name] for cell in cells)) if cells else None


def measured_specs(values: Mapping[str, Figures], models: Sequence[str]) -> list[Spec]:
    """The methods of which the models have cells, in the order of the table of methods."""
    parts = (name.split("/") for name in values)
    names = {part[1] for part in parts if len(part) > 2 and part[0] in models}
    order = list(METHODS)
    return sorted(find_specs(list(names)), key=lambda spec: (order.index(spec.key), spec.name))
