"""The cells of a comparison: which there are, and which are measured."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from comparison.columns import Column
from comparison.models import MODELS
from comparison.specs import Spec

Figures = Mapping[str, Any]
ERROR_FILE = "error.txt"


class Cell(NamedTuple):
    """One measurement: a model, a method, bit-widths, a seed; or a float model, without the rest.

    Args:
        model: Key of the model.
        spec: The method; None: the float model.
        column: Bit-widths.
        seed: Which calibration images, and all random numbers.
        images: Calibration images; None: the model's number.
    """

    model: str
    spec: Spec | None = None
    column: Column | None = None
    seed: int = 0
    images: int | None = None

    @property
    def name(self) -> str:
        """In the JSON file: ``MODEL/METHOD/COLUMN/seedN``, or ``MODEL/float``."""
        if self.spec is None or self.column is None:
            return f"{self.model}/float"
        name = f"{self.model}/{self.spec.name}/{self.column.name}/seed{self.seed}"
        return f"{name}/{self.images} images" if self.images else name

    @property
    def num_images(self) -> int:
        """On which it calibrates."""
        return self.images or MODELS[self.model].images

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Its recipe."""
        return [] if self.spec is None else self.spec.steps(MODELS[self.model])

    @property
    def overrides(self) -> list[dict[str, Any]]:
        """What its method overrides in the model's qconfig."""
        return [] if self.spec is None else list(map(dict, self.spec.method.overrides))

    @property
    def decides(self) -> dict[str, Any]:
        """What its figures depend on beside its name, as it is read back from JSON."""
        decides: dict[str, Any] = {"recipe": self.steps, "images": self.num_images}
        if self.overrides:
            decides["overrides"] = self.overrides
        return json.loads(json.dumps(decides))

    def folder(self, work_dir: Path) -> Path:
        """Where its stages, logs and detections are."""
        return work_dir / self.name.replace("/", "_")


def all_cells(
    models: Sequence[str],
    specs: Sequence[Spec],
    columns: Sequence[Column],
    seeds: Sequence[int],
    images: int | None = None,
) -> Iterator[Cell]:
    """Every cell, in the order in which they are measured: a method's columns one after another."""
    for model in models:
        yield Cell(model)
        for seed in dict.fromkeys(seeds):
            for spec in specs:
                for column in columns:
                    yield Cell(model, spec, column, seed, images)


def state(cell: Cell, values: Mapping[str, Figures], work_dir: Path) -> str:
    """How far a cell is: ``done``, ``other recipe``, ``failed``, ``begun`` or ``new``."""
    figures = values.get(cell.name)
    if figures is not None:
        same = all(figures.get(key) == value for key, value in cell.decides.items())
        return "done" if same or cell.spec is None else "other recipe"
    folder = cell.folder(work_dir)
    if (folder / ERROR_FILE).exists():
        return "failed"
    return "begun" if folder.exists() else "new"
