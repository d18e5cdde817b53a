"""Gradient-free optimizers, all in one form."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

Function = Callable[[np.ndarray], float]
Optimizer = Callable[[Function, np.ndarray, int], None]

# Evaluations that Nelder-Mead and COBYLA may make per iteration and variable: about what a line
# search takes, so that an iteration means much the same for every optimizer.
_EVALS_PER_LINE = 10


def powell(function: Function, x: np.ndarray, max_iters: int) -> None:
    """Powell as in scipy (LAPQ, section 4.3); an iteration searches once along every direction.

    The line search's tolerance is relative and coarse: the function is not smooth below a step of
    the quantizers.
    """
    minimize(function, x, method="Powell", options={"maxiter": max_iters, "xtol": 1e-3})


def nelder_mead(function: Function, x: np.ndarray, max_iters: int) -> None:
    """Nelder-Mead as in scipy, from a simplex with unit edges."""
    simplex = np.vstack([x, x + np.eye(len(x))])
    options = {
        "maxfev": max_iters * _EVALS_PER_LINE * len(x),
        "initial_simplex": simplex,
        "xatol": 0.05,
        "fatol": 1e-6,
        "adaptive": True,
    }
    minimize(function, x, method="Nelder-Mead", options=options)


def cobyla(function: Function, x: np.ndarray, max_iters: int) -> None:
    """COBYLA as in scipy, without constraints, from unit steps."""
    options = {"rhobeg": 1.0, "maxiter": max_iters * _EVALS_PER_LINE * len(x)}
    minimize(function, x, method="COBYLA", tol=0.05, options=options)


def coordinate_descent(function: Function, x: np.ndarray, max_iters: int) -> None:
    """Each coordinate in turn: unit steps that double while they help, then half a step.

    Takes about four evaluations a coordinate, less than half of what Powell takes, and never
    accepts a worse point.
    """
    x, best = np.array(x, dtype=float), function(x)
    for _ in range(max_iters):
        before = best
        for i in range(len(x)):
            x, best = _descend(function, x, best, i)
        if not best < before:
            return


def _descend(function: Function, x: np.ndarray, best: float, i: int) -> tuple[np.ndarray, float]:
    def tried(offset: float) -> tuple[np.ndarray, float]:
        moved = x.copy()
        moved[i] += offset
        return moved, function(moved)

    step = 1.0
    for sign in (1.0, -1.0):
        moved, value = tried(sign * step)
        if value < best:
            while value < best:
                x, best = moved, value
                step *= 2.0
                moved, value = tried(sign * step)
            break
    for half in (0.5, -0.5):
        moved, value = tried(half)
        if value < best:
            return moved, value
    return x, best


OPTIMIZERS: dict[str, Optimizer] = {
    "Powell": powell,
    "CoordinateDescent": coordinate_descent,
    "NelderMead": nelder_mead,
    "COBYLA": cobyla,
}
