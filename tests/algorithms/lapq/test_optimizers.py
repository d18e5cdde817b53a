"""Optimizers on functions whose minima are known."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize

from mmptq.algorithms.lapq.optimizers import OPTIMIZERS

TARGET = np.array([1.5, -2.0, 0.5])
# Coupled, positive definite.
HESSIAN = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 1.5]])


def bowl(x: np.ndarray) -> float:
    d = np.asarray(x) - TARGET
    return float(d @ HESSIAN @ d)


class Best:
    """What the search keeps: the best point ever evaluated."""

    def __init__(self, function: Callable[[np.ndarray], float]) -> None:
        self.function, self.value, self.calls = function, np.inf, 0
        self.point = np.zeros(3)

    def __call__(self, x: np.ndarray) -> float:
        self.calls += 1
        value = self.function(x)
        if value < self.value:
            self.value, self.point = value, np.array(x)
        return value


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_finds_the_minimum(name: str) -> None:
    best = Best(bowl)
    OPTIMIZERS[name](best, np.zeros(3), 12)
    assert np.allclose(best.point, TARGET, atol=0.2)
    assert best.value < 0.05 * bowl(np.zeros(3))


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_asks_for_the_same_points_every_time(name: str) -> None:
    courses = []
    for _ in range(2):
        asked: list[tuple[float, ...]] = []

        def noted(x: np.ndarray, asked: list[tuple[float, ...]] = asked) -> float:
            asked.append(tuple(map(float, x)))
            return bowl(x)

        OPTIMIZERS[name](noted, np.zeros(3), 2)
        courses.append(asked)
    assert courses[0] == courses[1]


def test_powell_is_scipys() -> None:
    best = Best(bowl)
    OPTIMIZERS["Powell"](best, np.zeros(3), 3)
    result = minimize(bowl, np.zeros(3), method="Powell", options={"maxiter": 3, "xtol": 1e-3})
    assert best.calls == result.nfev
    assert best.value <= result.fun


def test_coordinate_descent_never_gets_worse_on_a_rough_function() -> None:
    def rough(x: np.ndarray) -> float:
        return bowl(np.round(np.asarray(x) * 2) / 2) + 0.3 * float(np.sin(17 * np.sum(x)))

    best = Best(rough)
    OPTIMIZERS["CoordinateDescent"](best, np.zeros(3), 5)
    assert best.value <= rough(np.zeros(3))
    assert best.calls < 5 * 3 * 10
