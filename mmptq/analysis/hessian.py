"""Gradient and Hessian of a function by central differences, and its Gaussian curvature."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmptq.engine import Track

Offsets = tuple[int, ...]


@dataclass(frozen=True)
class Derivatives:
    """A function's value ``f``, gradient ``(n,)`` and Hessian ``(n, n)`` at a point."""

    value: float
    gradient: np.ndarray
    hessian: np.ndarray

    def per_unit(self, units: Sequence[float]) -> "Derivatives":
        """By ``y_i = units_i x_i`` in place of ``x_i``."""
        scale = np.asarray(units, dtype=float)
        return Derivatives(self.value, self.gradient / scale, self.hessian / np.outer(scale, scale))


@dataclass(frozen=True)
class Curvature:
    """``sign * 10**log10``; beyond a float's range for many variables, hence the logarithm."""

    sign: float
    log10: float

    def __str__(self) -> str:
        if self.sign == 0 or not math.isfinite(self.log10):
            return "0" if self.sign == 0 else "nan"
        exponent = math.floor(self.log10)
        return f"{'-' if self.sign < 0 else ''}{10 ** (self.log10 - exponent):.1f}e{exponent:+d}"


def stencil(n: int) -> list[Offsets]:
    """Points of the second-order central differences of ``n`` variables, in steps from the centre.

    ``1 + 2 n^2`` of them. Neighbours in the list differ in few, and late, variables.
    """
    points = [(0,) * n]
    for i in range(n):
        for sign in (1, -1):
            points.append(_offset(n, (i, sign)))
            for j, other in itertools.product(range(i + 1, n), (1, -1)):
                points.append(_offset(n, (i, sign), (j, other)))
    return points


def _offset(n: int, *moves: tuple[int, int]) -> Offsets:
    point = [0] * n
    for axis, sign in moves:
        point[axis] = sign
    return tuple(point)


def central_differences(values: Mapping[Offsets, float], n: int, step: float) -> Derivatives:
    """Derivatives from the values on :func:`stencil`, exact for a quadratic function.

    Args:
        values: By offset.
        n: Number of variables.
        step: Between two points along an axis.
    """
    f, centre = values, values[(0,) * n]
    gradient, hessian = np.zeros(n), np.zeros((n, n))
    for i in range(n):
        up, down = f[_offset(n, (i, 1))], f[_offset(n, (i, -1))]
        gradient[i] = (up - down) / (2.0 * step)
        hessian[i, i] = (up - 2.0 * centre + down) / step**2
    for i, j in itertools.combinations(range(n), 2):
        same = f[_offset(n, (i, 1), (j, 1))] + f[_offset(n, (i, -1), (j, -1))]
        opposite = f[_offset(n, (i, 1), (j, -1))] + f[_offset(n, (i, -1), (j, 1))]
        hessian[i, j] = hessian[j, i] = (same - opposite) / (4.0 * step**2)
    return Derivatives(centre, gradient, hessian)


def measure_hessian(
    function: Callable[[Sequence[float]], float], n: int, step: float, track: Track, name: str
) -> tuple[Derivatives, Derivatives]:
    """Derivatives at ``(1, ..., 1)`` by two step sizes.

    The difference of the two tells how far either is to be trusted. Where the function is smooth
    the first is off by about a third of it (the error falls with the square of the step); where
    rounding makes it ragged, by about the whole.

    Args:
        function: Of ``n`` numbers.
        n: How many.
        step: The step size, less than 1/2.
        track: Progress reporter.
        name: What it calls the task.

    Returns:
        By ``step`` and by twice that.
    """
    points = stencil(n)
    tasks = [(size, offsets) for size in (step, 2.0 * step) for offsets in points]
    values: dict[float, dict[Offsets, float]] = {step: {}, 2.0 * step: {}}
    for size, offsets in track(tasks, name, len(tasks)):
        values[size][offsets] = function([1.0 + size * k for k in offsets])
    fine, coarse = (central_differences(values[size], n, size) for size in values)
    return fine, coarse


def gaussian_curvature(derivatives: Derivatives) -> Curvature:
    r"""Gaussian curvature :math:`K = \det H / (\|\nabla f\|^2 + 1)^2` (LAPQ, eq. 9).

    (The exponent is that of a surface, two variables; the paper uses it for any number of them.)
    """
    if not np.isfinite(derivatives.hessian).all() or not np.isfinite(derivatives.gradient).all():
        return Curvature(math.nan, math.nan)
    sign, log_det = np.linalg.slogdet(derivatives.hessian)
    slope = float(derivatives.gradient @ derivatives.gradient)
    log10 = (float(log_det) - 2.0 * math.log1p(slope)) / math.log(10.0)
    return Curvature(float(sign), log10)


def coupling(hessian: np.ndarray) -> float:
    """Mean magnitude off the diagonal over that on it; 0 for a separable function."""
    n = len(hessian)
    magnitude = np.abs(hessian)
    diagonal = float(np.trace(magnitude))
    if n < 2 or diagonal == 0.0:
        return math.nan
    return (float(magnitude.sum()) - diagonal) / (n - 1) / diagonal
