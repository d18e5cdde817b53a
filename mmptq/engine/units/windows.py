"""Random crops of a unit's maps, and the part of each that its border does not reach."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmptq.engine.units.geometry import Axis, Geometry

# Crops that are kept of a map, at most: with crops of 48 outputs a side, 256 images of 800 x 1333
# are 8 GB in the first stage of a ResNet-50, a seventh of the whole maps.
MAX_CROPS = 4
# Of a map. A larger crop saves little, and keeping several costs more than keeping the map.
LARGEST_SHARE = 0.75

Area = tuple[slice, slice]


@dataclass(frozen=True)
class Window:
    """A crop.

    Args:
        read: Rows and columns of the input.
        written: Rows and columns of the whole output that the unit gives on them.
        compared: Those of ``written``, counted from its beginning, that are the whole unit's.
    """

    read: Area
    written: Area
    compared: Area

    def mask(self) -> Tensor:
        """``(1, 1, H, W)`` over ``written``: 1 where outputs are compared, else 0."""
        mask = torch.zeros([part.stop - part.start for part in self.written])
        mask[self.compared] = 1.0
        return mask[None, None]


def draw_windows(
    geometry: Geometry,
    read: torch.Size,
    written: torch.Size,
    crop: int,
    generator: torch.Generator,
) -> list[Window]:
    """Random crops of one map; none where a crop would be most of the map.

    The centre of a crop is drawn evenly from all outputs; a crop that would leave the map is moved
    inside. There is one for each time that it fits into the map, up to ``MAX_CROPS``.

    Args:
        geometry: Of the unit.
        read: Shape of its input, ``(N, C, H, W)``.
        written: Shape of its output, ``(N, C', H', W')``.
        crop: Outputs a side that are compared, at least (or all of a side).
        generator: On the CPU.
    """
    sizes = list(zip(geometry, read[2:], written[2:], strict=True))
    shares = [_periods(axis, min(crop, out)) * axis.period / size for axis, size, out in sizes]
    if min(shares[0], 1.0) * min(shares[1], 1.0) >= LARGEST_SHARE:
        return []
    area = min(crop, written[2]) * min(crop, written[3])
    count = min(MAX_CROPS, -(-written[2] * written[3] // area))
    windows = []
    for _ in range(count):
        rows, columns = (_span(axis, size, out, crop, generator) for axis, size, out in sizes)
        inside, outside, inner = zip(rows, columns, strict=True)
        windows.append(Window(inside, outside, inner))
    return windows


def _periods(axis: Axis, count: int) -> int:
    """Periods in a crop that has ``count`` outputs inside wherever it begins."""
    border = axis.before + axis.after - axis.extra
    return max(-(-(count + border + axis.step - 1) // axis.step), 1)


def _span(
    axis: Axis, size: int, outputs: int, crop: int, generator: torch.Generator
) -> tuple[slice, slice, slice]:
    """Inputs, outputs and compared outputs of a crop along one axis."""
    count = min(crop, outputs)
    centre = int(torch.randint(outputs, (), generator=generator))
    first = min(max(centre - count // 2, 0), outputs - count)
    periods = _periods(axis, count)
    start = max((first - axis.before) // axis.step, 0)
    start = min(start, max(size // axis.period - periods, 0))
    stop = start + periods
    end = axis.step * stop + axis.extra
    # What is left over behind the last period belongs to the last crop.
    last = size - stop * axis.period < axis.period or end > outputs
    end = outputs if last else end
    begin = axis.step * start
    return (
        slice(start * axis.period, size if last else stop * axis.period),
        slice(begin, end),
        slice(axis.before if start else 0, end - begin - (0 if last else axis.after)),
    )
