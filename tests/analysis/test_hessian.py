"""Derivatives against quadratics and scipy, curvature by hand."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der, rosen_hess

from mmptq.analysis.hessian import (
    Curvature,
    Derivatives,
    coupling,
    gaussian_curvature,
    measure_hessian,
    stencil,
)


def track(items: Any, name: str, total: int | None = None) -> Iterator[Any]:
    assert total == len(items)
    yield from items


@pytest.mark.parametrize("n", [1, 2, 5])
def test_exact_for_a_quadratic_and_both_steps_agree(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(n, n)), rng.normal(size=n)
    a = a + a.T

    def quadratic(x: Sequence[float]) -> float:
        return float(0.5 * np.array(x) @ a @ np.array(x) + b @ np.array(x) + 3.0)

    found = measure_hessian(quadratic, n, 0.1, track, "t")
    for derivatives in found:
        assert derivatives.hessian == pytest.approx(a, abs=1e-9)
        assert derivatives.gradient == pytest.approx(a @ np.ones(n) + b, abs=1e-10)
        assert derivatives.value == quadratic([1.0] * n)


def test_error_falls_with_the_square_of_the_step() -> None:
    """Rosenbrock's function moved to where nothing is 0, against scipy's derivatives."""
    centre = np.array([0.3, -0.2, 0.5])

    def function(x: Sequence[float]) -> float:
        return float(rosen(np.array(x) - 1.0 + centre))

    fine, coarse = measure_hessian(function, 3, 0.01, track, "t")
    exact = rosen_hess(centre)
    errors = [np.abs(d.hessian - exact).max() for d in (fine, coarse)]
    assert errors[0] < 0.05
    assert errors[1] / errors[0] == pytest.approx(4.0, rel=1e-2)
    # The difference of the two, a third of it, is the error of the finer one.
    assert np.abs(fine.hessian - coarse.hessian).max() / 3.0 == pytest.approx(errors[0], rel=0.02)
    assert fine.gradient == pytest.approx(rosen_der(centre), abs=0.1)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_stencil_has_no_point_twice_and_few_variables_move(n: int) -> None:
    points = stencil(n)
    assert len(points) == len(set(points)) == 1 + 2 * n**2
    assert max(sum(map(abs, point)) for point in points) == min(n, 2)


def test_curvature_by_hand() -> None:
    # det = 2 * 3 - 1 = 5, |gradient|^2 = 5, K = 5 / 36.
    found = gaussian_curvature(
        Derivatives(0.0, np.array([1.0, 2.0]), np.array([[2.0, 1.0], [1.0, 3.0]]))
    )
    assert found.sign == 1.0
    assert 10**found.log10 == pytest.approx(5.0 / 36.0)


def test_curvature_of_a_sphere() -> None:
    """The lower half of a sphere of radius 2 has K = 1 / 4 everywhere."""

    def sphere(x: Sequence[float]) -> float:
        return -math.sqrt(4.0 - (x[0] - 0.5) ** 2 - (x[1] - 0.7) ** 2)

    found = gaussian_curvature(measure_hessian(sphere, 2, 1e-3, track, "t")[0])
    assert found.sign * 10**found.log10 == pytest.approx(0.25, rel=1e-4)


def test_curvature_beyond_a_floats_range_and_without_a_value() -> None:
    many = Derivatives(0.0, np.zeros(200), -1e-5 * np.eye(200))
    assert gaussian_curvature(many) == Curvature(1.0, pytest.approx(-1000.0))
    saddle = Derivatives(0.0, np.zeros(2), np.diag([1.0, -0.05]))
    assert str(gaussian_curvature(saddle)) == "-5.0e-2"
    flat = Derivatives(0.0, np.zeros(2), np.zeros((2, 2)))
    assert str(gaussian_curvature(flat)) == "0"
    broken = Derivatives(0.0, np.zeros(2), np.full((2, 2), math.nan))
    assert str(gaussian_curvature(broken)) == "nan"


def test_other_units() -> None:
    """f(x) = x1^2 x2 at (1, 1), as a function of y = (2 x1, x2 / 4): y1^2 y2 at (2, 1/4)."""

    def function(x: Sequence[float]) -> float:
        return x[0] ** 2 * x[1]

    found = measure_hessian(function, 2, 1e-3, track, "t")[0].per_unit([2.0, 0.25])
    y1, y2 = 2.0, 0.25  # f = (y1 / 2)^2 * 4 y2 = y1^2 y2
    assert found.gradient == pytest.approx([2 * y1 * y2, y1**2], rel=1e-5)
    wanted = np.array([[2 * y2, 2 * y1], [2 * y1, 0.0]])
    assert found.hessian == pytest.approx(wanted, abs=1e-5)


def test_coupling() -> None:
    assert coupling(np.diag([1.0, -2.0, 3.0])) == 0.0
    assert coupling(np.array([[2.0, -1.0], [-1.0, 4.0]])) == pytest.approx(1.0 / 3.0)
    assert coupling(np.full((4, 4), -7.0)) == pytest.approx(1.0)
    assert math.isnan(coupling(np.array([[1.0]])))
