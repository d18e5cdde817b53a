"""How a unit's outputs lie over its inputs, found by running it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]

# Sides of the maps that a unit is tried on: the least that shows an inner part is enough.
_SIDES = (16, 32, 64)
_PERIODS = (1, 2, 3, 4, 8)
_ERRORS = (RuntimeError, ValueError, AssertionError, IndexError)
# Where values decide what is read (deformable convolutions), large ones read far.
_SCALES = (1.0, 100.0)
# Two ways to compute one output differ by rounding only, relative to the largest output.
_TOLERANCE = 1e-4

READS_ALL = "its outputs read the whole map"
VARIES = "it is not the same at every position"
FIXED = "it does not run on maps of other sizes"


@dataclass(frozen=True)
class Axis:
    """Along the height or the width.

    Args:
        period: Inputs after which the unit repeats itself: its total stride.
        step: Outputs in a period; more than one where it upsamples.
        extra: Outputs of ``n`` periods beyond ``n * step``; negative where borders are not padded.
        before: How many outputs a border at the beginning reaches.
        after: How many outputs a border at the end reaches.
    """

    period: int
    step: int
    extra: int
    before: int
    after: int


Geometry = tuple[Axis, Axis]


@torch.no_grad()
def find_geometry(run: Run, channels: int, device: torch.device) -> Geometry | str:
    """Height and width of a unit, or why there are none.

    What an output reads is found with NaN in place of inputs, which no weight and no activation
    function hides. Then parts of a map are compared with the whole at several positions, so a unit
    that has a geometry has been seen to compute the same on parts.

    Args:
        run: The unit in float form, ``(1, channels, H, W)`` to ``(1, C, H', W')``.
        channels: Of its input.
        device: Of its weights.
    """
    reason = READS_ALL

    def dense(x: Tensor) -> Tensor:  # some operators take no views
        return run(x.contiguous())

    with _plain_kernels():
        for side in _SIDES:
            x = torch.randn(
                (1, channels, side, side), generator=torch.Generator().manual_seed(side)
            ).to(device)
            corner = x.clone()
            corner[..., 0, 0] = torch.nan
            try:
                reads_all = bool(dense(corner).isnan().flatten(2).any(1).all())
            except _ERRORS:
                reason = FIXED
                continue
            if reads_all:
                continue
            reason = VARIES
            # Of a map there must be parts that neither border reaches.
            for period in (p for p in _PERIODS if 6 * p <= side):
                geometry = _tried(dense, x, period)
                if geometry is not None:
                    return geometry
    return reason


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Without fast convolutions, which mix neighbours (Winograd) and so would spread NaN."""
    backends: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    enabled = [backend.enabled for backend in backends]
    try:
        for backend in backends:
            backend.enabled = False
        yield
    finally:
        for backend, value in zip(backends, enabled, strict=True):
            backend.enabled = value


def _tried(run: Run, x: Tensor, period: int) -> Geometry | None:
    """The geometry with this period, if the unit has it as far as ``x`` is large enough to tell."""
    try:
        geometry = _geometry(run, x, period)
        if geometry is not None and all(_repeats(run, s * x, geometry) for s in _SCALES):
            return geometry
    except _ERRORS:  # a part is too small
        pass
    return None


def _geometry(run: Run, x: Tensor, period: int) -> Geometry | None:
    """What it must be if the unit repeats itself after ``period`` inputs."""
    count = x.shape[-1] // period
    x = x[..., : count * period, : count * period]
    whole, less = run(x), run(x[..., period:, period:])
    axes = []
    for dim in (-2, -1):
        size = whole.shape[dim]
        step = size - less.shape[dim]
        if step < 1:
            return None
        extra = size - step * count
        # Inputs of one period hidden at the beginning, then of one at the end.
        hidden = _hidden(run, x, dim, slice(0, period))
        first = int(hidden.nonzero().max()) + 1 if bool(hidden.any()) else 0
        hidden = _hidden(run, x, dim, slice((count - 1) * period, None))
        last = int(hidden.nonzero().min()) if bool(hidden.any()) else size
        after = max(step * (count - 1) + extra - last, 0)
        axes.append(Axis(period, step, extra, max(first - step, 0), after))
    return axes[0], axes[1]


def _hidden(run: Run, x: Tensor, dim: int, part: slice) -> Tensor:
    """Which rows (or columns) of the output read rows (or columns) ``part`` of the input."""
    x = x.clone()
    x.movedim(dim, 0)[part] = torch.nan
    return run(x).isnan().movedim(dim, 0).flatten(1).any(1)


def _repeats(run: Run, x: Tensor, geometry: Geometry) -> bool:
    """Whether parts of ``x`` give what the whole gives, where their borders do not reach."""
    period, side = geometry[0].period, x.shape[-1]
    ends = {side, side - 1, side - period + 1}  # the stride may leave inputs over
    for end in sorted(ends):
        map_ = x[..., :end, :end]
        whole, count = run(map_), end // period
        for start, stop in ((1, count - 1), (2, None), (0, count - 1), (1, count - 2), (3, None)):
            part = slice(start * period, None if stop is None else stop * period)
            y = run(map_[..., part, part])
            places = [
                _place(axis, start, stop, size, full)
                for axis, size, full in zip(geometry, y.shape[2:], whole.shape[2:], strict=True)
            ]
            if any(place is None for place in places):
                return False
            (own_h, full_h), (own_w, full_w) = [place for place in places if place is not None]
            error = (y[..., own_h, own_w] - whole[..., full_h, full_w]).abs().max()
            if not float(error) <= _TOLERANCE * float(whole.abs().max()):
                return False
    return True


def _place(
    axis: Axis, start: int, stop: int | None, size: int, full: int
) -> tuple[slice, slice] | None:
    """The inner part of ``size`` outputs of some periods, and where it is in all ``full``."""
    first = axis.step * start
    expected = full - first if stop is None else axis.step * (stop - start) + axis.extra
    begin = axis.before if start else 0
    end = size if stop is None else size - axis.after
    if size != expected or begin >= end or first + end > full:
        return None
    return slice(begin, end), slice(first + begin, first + end)
