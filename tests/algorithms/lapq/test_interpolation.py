"""The parabola against numpy, and the path's choice of p."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmptq.algorithms import LpInterpolation, RangeCalibration
from mmptq.algorithms.lapq.interpolation import fit_parabola, parabola_minimum
from mmptq.engine import LossEvaluator
from mmptq.errors import ConfigError, NumericalError
from mmptq.observers import LpNormObserver
from tests.calibration_support import MakeContext, make_context  # noqa: F401

GRID = [2.0 + 2.0 * i / 9 for i in range(10)]
TASK = {"type": "TaskLoss"}


@given(st.lists(st.floats(-5.0, 5.0), min_size=10, max_size=10))
def test_fit_is_numpys(losses: list[float]) -> None:
    fit = fit_parabola(GRID, losses)
    assert fit is not None
    assert np.allclose(fit, np.polyfit(GRID, losses, 2), atol=1e-9)


def test_vertex_of_a_known_parabola() -> None:
    fit = fit_parabola(GRID, [3.0 * (p - 2.7) ** 2 + 1.0 for p in GRID])
    assert fit is not None
    assert parabola_minimum(*fit, GRID) == pytest.approx(2.7)


@pytest.mark.parametrize(
    ("a", "vertex"), [(-1.0, 3.0), (0.0, 3.0), (1.0, 1.9), (1.0, 4.1)], ids=str
)
def test_no_vertex_where_concave_flat_or_out_of_range(a: float, vertex: float) -> None:
    assert parabola_minimum(a, -2.0 * a * vertex, 0.0, GRID) is None


def test_losses_that_are_not_finite_are_left_out() -> None:
    losses = [(p - 3.0) ** 2 for p in GRID]
    losses[0], losses[9] = math.nan, math.inf
    assert fit_parabola(GRID, losses) == pytest.approx((1.0, -6.0, 9.0))
    assert fit_parabola([2.0, 3.0, 4.0], [1.0, math.nan, 2.0]) is None
    assert fit_parabola([2.0], [1.0]) is None


def loss_of_p(context: Any, p: float) -> float:
    observer = {"type": "LpNormObserver", "p": p}
    RangeCalibration(weight=observer, act=observer).run(context)
    return LossEvaluator(context, TASK, incremental=False)()


def test_keeps_the_best_of_all_points(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", ranges=False)
    LpInterpolation(num_points=4).run(context)
    kept = LossEvaluator(context, TASK, incremental=False)()
    lines = (context.store.folder / "lp_interpolation.jsonl").read_text().splitlines()[1:]
    logged = {json.loads(line)["point"][0]: json.loads(line)["loss"] for line in lines}
    assert list(logged)[:4] == [2.0, 2.0 + 2 / 3, 2.0 + 4 / 3, 4.0]
    assert kept == min(logged.values())
    other = make_context("retinanet", folder="b")
    assert loss_of_p(other, 2.0) == logged[2.0]
    assert loss_of_p(other, 4.0) == logged[4.0]
    assert (context.store.folder.parent / "lp_interpolation.png").stat().st_size > 1000


def test_goes_on_from_its_log(make_context: MakeContext, monkeypatch: Any) -> None:  # noqa: F811
    context = make_context("retinanet", ranges=False)
    LpInterpolation(num_points=3).run(context)
    scales = {n: q.scale.clone() for n, q in context.model.sites.items()}
    # With other ranges at the start: those of a baseline that is not run again.
    again = make_context("retinanet", resume=True)
    monkeypatch.setattr(LossEvaluator, "__call__", lambda self: pytest.fail("evaluated again"))
    LpInterpolation(num_points=3).run(again)
    assert all(bool((again.model.sites[n].scale == s).all()) for n, s in scales.items())


def test_a_loss_that_is_never_finite(make_context: MakeContext, monkeypatch: Any) -> None:  # noqa: F811
    monkeypatch.setattr(LossEvaluator, "__call__", lambda self: math.nan)
    with pytest.raises(NumericalError, match="bit-widths"):
        LpInterpolation(num_points=3).run(make_context("retinanet", ranges=False))


@pytest.mark.parametrize(
    ("kwargs", "key"),
    [
        ({"p_range": (4.0, 2.0)}, "p_range"),
        ({"p_range": (0.0, 2.0)}, "p_range"),
        ({"num_points": 0}, "num_points"),
        ({"objective": {"type": "Loss"}}, "objective"),
        ({"objective": {"type": "TaskLoss", "p": 1}}, "objective.p"),
    ],
)
def test_errors_name_the_key(kwargs: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        LpInterpolation(**kwargs)


def test_the_path_is_the_layer_wise_optimum(make_context: MakeContext, tmp_path: Path) -> None:  # noqa: F811
    """Each tensor's range at p is the observer's own."""
    context = make_context("retinanet", ranges=False)
    LpInterpolation(p_range=(3.0, 3.5), num_points=1, interpolate=False).run(context)
    statistics = context.activation_statistics()
    name, quantizer = next(iter(context.model.sites.items()))
    low, high = LpNormObserver(3.0).compute_range(statistics[name], quantizer.scheme)
    expected = (high.clamp(min=0.0) - low.clamp(max=0.0)) / quantizer.scheme.levels
    assert float(quantizer.scale) == pytest.approx(float(expected), rel=1e-6)
