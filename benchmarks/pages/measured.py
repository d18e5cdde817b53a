"""The measured cells of benchmarks/results/, by the name of their file."""

import functools
import json
from collections.abc import Mapping
from statistics import mean
from typing import Any

from records import RECORDED, records

Cell = dict[str, Any]


@functools.cache
def cells_of(file: str) -> dict[str, Cell]:
    """The cells of ``<file>.json``, or of the record ``recorded/<name>``; shares are in percent."""
    if file.startswith("recorded/"):
        found = records()[file.removeprefix("recorded/")]["cells"]
    else:
        found = json.loads((RECORDED.parent / f"{file}.json").read_text())
    return {name: _flat(cell) for name, cell in found.items()}


def _flat(cell: Mapping[str, Any]) -> Cell:
    """Without the dictionary of the classes' APs around them; mAP as ``metric``, too."""
    found = {key: value for key, value in cell.items() if key != "classes"}
    found |= cell.get("classes", {})
    flat = {
        key: 100 * value if key.startswith("bbox_") and value >= 0 else value
        for key, value in found.items()
    }
    return {"metric": flat["bbox_mAP"], **flat} if "bbox_mAP" in flat else flat


def cells_over_seeds(file: str, name: str, seeds: tuple[int, ...]) -> list[Cell]:
    """What was measured of a cell at these seeds.

    Args:
        file: See :func:`cells_of`.
        name: With ``{seed}``, or with ``{choice}`` or ``{slash}``, which are empty for seed 0.
        seeds: Some may not be measured.
    """
    names = (
        name.format(seed=s, choice=f", seed {s}" if s else "", slash=f"/seed{s}" if s else "")
        for s in seeds
    )
    return [cells_of(file)[n] for n in dict.fromkeys(names) if n in cells_of(file)]


def mean_cell(cells: list[Cell]) -> Cell:
    """Means over the cells, key by key, of what is a number; the rest is the first cell's."""
    return {
        key: mean(cell[key] for cell in cells) if isinstance(value, int | float) else value
        for key, value in cells[0].items()
        if all(key in cell for cell in cells)
    }
