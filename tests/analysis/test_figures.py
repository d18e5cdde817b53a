"""Pictures are drawn, small, and whole, whatever the values are."""

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmptq.analysis import figures
from mmptq.errors import NumericalError

AXIS = [-1.0, 0.0, 1.0]
BOWL = [[x * x + y * y + 0.1 for y in AXIS] for x in AXIS]
HOLE = [[math.nan, 1.0, 2.0], [1.0, 0.1, math.inf], [2.0, 1.0, 2.0]]
FLAT = [[0.5] * 3] * 3
NONE = [[math.nan] * 3] * 3


def surface(values: list[list[float]]) -> dict[str, Any]:
    marks = {"2": [0.0, 0.0], "4": [0.5, 0.5]}
    return {"names": ["a", "b"], "steps": [AXIS, AXIS], "loss": values, "lp": marks, "best": [0, 0]}


def seen(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None and picture.std() > 5.0
    assert path.stat().st_size < 150_000
    return picture


@pytest.mark.parametrize("values", [BOWL, HOLE, FLAT], ids=["bowl", "hole", "flat"])
def test_surfaces_and_landscapes(values: list[list[float]], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    figures.draw_surfaces({"W4A4": surface(values), "W2A2": surface(BOWL)}, path)
    two = seen(path)
    figures.draw_surfaces({"W4A4": surface(values)}, path)
    assert seen(path).shape[1] < two.shape[1]
    landscape = {"axis": AXIS, "loss": values}
    figures.draw_landscapes({"float": {"axis": AXIS, "loss": BOWL}, "W2A2": landscape}, path)
    seen(path)


def test_nothing_finite_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(NumericalError, match="no value is finite"):
        figures.draw_surfaces({"W1A1": surface(NONE)}, path)
    with pytest.raises(NumericalError, match="no value is finite"):
        figures.draw_landscapes({"W1A1": {"axis": AXIS, "loss": NONE}}, path)
    with pytest.raises(NumericalError, match="no value is finite"):
        figures.draw_hessians({"W1A1": {"names": "abc", "hessian": NONE, "coupling": 0.0}}, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("parabola", [None, (1.0, -6.0, 9.0)])
def test_curves(parabola: Any, tmp_path: Path) -> None:
    path, p = tmp_path / "a.png", [2.0, 3.0, 4.0]
    vertex = None if parabola is None else 3.0
    found: dict[str, Any] = {"p": p, "values": [1.0, math.nan, 1.0], "parabola": parabola}
    figures.draw_p_path({"W4A4": {**found, "vertex": vertex, "vertex_value": vertex}}, path)
    seen(path)
    errors = {"name": "a.act", "shares": [0.5, 1.0], "curves": {"2": [1.0, 1.5], "4": [1.2, 1.0]}}
    figures.draw_over_p({"W4A4": {**found, "errors": errors}}, "mAP", path)
    seen(path)


@pytest.mark.parametrize("hessian", [BOWL, HOLE, [[0.0] * 3] * 3])
def test_hessians(hessian: list[list[float]], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    found = {"names": ["a.act", "b.weight", "c.act"], "hessian": hessian, "coupling": 0.5}
    figures.draw_hessians({"W4A4": found, "W2A2": found}, path)
    seen(path)
