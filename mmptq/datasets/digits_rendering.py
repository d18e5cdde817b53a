"""Draws the images of the demo set: real handwritten digits on cluttered canvases.

Everything is numpy on a legacy ``RandomState``, whose stream numpy keeps fixed for good, and uses
only correctly rounded arithmetic where it can, so that one seed gives one image everywhere.
Images are RGB, ``uint8`` of shape (H, W, 3); lengths are in pixels; y points down.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

IMAGE_SIZE = 160
MIN_HEIGHT, MAX_HEIGHT = 16.0, 60.0
MAX_ROTATION = 20.0  # degrees; beyond about 30, people no longer tell 6 from 9 and 1 from 7
MIN_DIGITS, MAX_DIGITS = 2, 8
MIN_VISIBLE = 0.65  # of a digit's own pixels, after later digits were drawn over it
MAX_BOX_IOU = 0.25  # stays below the usual NMS threshold of 0.5, so that both can be found
MIN_CONTRAST = 45.0  # difference of luminance, of 255

_CELLS = 8  # the source digits are 8x8
_UPSAMPLE = 8
_GLYPH = (_CELLS + 2) * _UPSAMPLE  # one empty cell on each side: digits touch their border
_INSIDE = 0.35  # coverage from which a pixel counts as part of the digit


class Scene(NamedTuple):
    """One drawn image with its digits.

    Attributes:
        image: RGB, uint8, (H, W, 3).
        boxes: int64, (N, 4): x, y, width, height of the tight box around each digit.
        labels: int64, (N,): the digits 0..9.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.int64]
    labels: NDArray[np.int64]


def _interpolation_matrix() -> Array:
    """Catmull-Rom interpolation from the padded 10 cells to ``_GLYPH`` samples: (_GLYPH, 10)."""
    cells = _CELLS + 2
    matrix = np.zeros((_GLYPH, cells))
    for row in range(_GLYPH):
        position = (row + 0.5) / _UPSAMPLE - 0.5
        first = int(np.floor(position))
        t = position - first
        weights = (
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        )
        for offset, weight in enumerate(weights, start=-1):
            cell = first + offset
            if 0 <= cell < cells:
                matrix[row, cell] += weight
    return matrix


_MATRIX = _interpolation_matrix()


def upsample_glyph(glyph: Array) -> Array:
    """Enlarge an 8x8 glyph with values in [0, 1] to a sharp-edged (80, 80) mask in [0, 1]."""
    padded = np.pad(np.asarray(glyph, dtype=np.float64), 1)
    smooth = _MATRIX @ padded @ _MATRIX.T
    return np.clip((smooth - 0.3) / 0.3, 0.0, 1.0)


def warp_glyph(mask: Array, height: float, angle: float) -> Array:
    """Scale and rotate a glyph mask, and cut it to its tight box.

    Args:
        mask: What :func:`upsample_glyph` returned.
        height: Height in pixels of the eight source rows before the rotation.
        angle: In degrees, counter-clockwise on the screen.

    Returns:
        Coverage in [0, 1], of shape (h, w); its outermost rows and columns hold at least one pixel
        of the digit. Empty, (0, 0), if nothing of the glyph remains.
    """
    scale = height / (_CELLS * _UPSAMPLE)
    samples = 3 if scale < 0.5 else 2  # points per pixel and axis that are averaged
    # Rounded, so that a last-digit difference between two math libraries cannot reach a pixel.
    cos, sin = np.round((np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))), 9)
    size = int(np.ceil(_GLYPH * scale * (abs(cos) + abs(sin)))) + 1
    points = (np.arange(size * samples) + 0.5) / samples - size / 2
    x, y = points[None, :] / scale, points[:, None] / scale
    sampled = _bilinear(mask, sin * x + cos * y, cos * x - sin * y)
    coverage = sampled.reshape(size, samples, size, samples).mean(axis=(1, 3))
    inside = coverage >= _INSIDE
    rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return np.zeros((0, 0))
    return coverage[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]


def _bilinear(mask: Array, dy: Array, dx: Array) -> Array:
    """Sample ``mask`` at offsets (dy, dx) from its centre; zero outside."""
    limit = _GLYPH - 1.001
    y, x = dy + (_GLYPH - 1) / 2, dx + (_GLYPH - 1) / 2
    valid = (y >= 0) & (x >= 0) & (y <= limit) & (x <= limit)
    y, x = np.clip(y, 0, limit), np.clip(x, 0, limit)
    row, col = y.astype(np.intp), x.astype(np.intp)
    fy, fx = y - row, x - col
    flat, start = mask.ravel(), row * _GLYPH + col
    top = flat[start] * (1 - fx) + flat[start + 1] * fx
    bottom = flat[start + _GLYPH] * (1 - fx) + flat[start + _GLYPH + 1] * fx
    return (top * (1 - fy) + bottom * fy) * valid


def luminance(color: Array) -> Array:
    """Rec. 601 luma of RGB values along the last axis."""
    return color[..., 0] * 0.299 + color[..., 1] * 0.587 + color[..., 2] * 0.114


def _random_color(rng: np.random.RandomState, gray: bool) -> Array:
    if gray:
        return np.full(3, rng.uniform(0, 255))
    return rng.uniform(0, 255, size=3)


def contrasting_color(rng: np.random.RandomState, gray: bool, against: float) -> Array:
    """A colour at least ``MIN_CONTRAST`` lighter or darker than the luminance ``against``."""
    for _ in range(20):
        color = _random_color(rng, gray)
        if abs(float(luminance(color)) - against) >= MIN_CONTRAST:
            return color
    return np.full(3, 255.0 if against < 128 else 0.0)


def draw_background(rng: np.random.RandomState, gray: bool, size: int = IMAGE_SIZE) -> Array:
    """A gradient between two colours with soft blotches on it: float, (size, size, 3)."""
    first = _random_color(rng, gray)
    second = 0.5 * first + 0.5 * _random_color(rng, gray)
    along = np.linspace(0.0, 1.0, size)
    direction = rng.uniform(-1, 1, size=2)
    ramp = direction[0] * along[:, None] + direction[1] * along[None, :]
    ramp = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    canvas = first + (second - first) * ramp[..., None]
    blotches = rng.uniform(-1, 1, size=(6, 6)) * rng.uniform(0, 25)
    return canvas + _enlarge(blotches, size)[..., None]


def _enlarge(coarse: Array, size: int) -> Array:
    """Bilinear enlargement of a square grid to (size, size)."""
    position = np.linspace(0, len(coarse) - 1.001, size)
    index = position.astype(np.intp)
    fraction = position - index
    rows = coarse[index] * (1 - fraction)[:, None] + coarse[index + 1] * fraction[:, None]
    return rows[:, index] * (1 - fraction) + rows[:, index + 1] * fraction


def blend(canvas: Array, mask: Array, color: Array, x: int, y: int) -> None:
    """Paint ``color`` with coverage ``mask`` at (x, y), in place; what falls outside is cut off."""
    height, width = canvas.shape[:2]
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + mask.shape[0], height), min(x + mask.shape[1], width)
    if top >= bottom or left >= right:
        return
    alpha = mask[top - y : bottom - y, left - x : right - x, None]
    region = canvas[top:bottom, left:right]
    region += alpha * (color - region)


def draw_stroke(canvas: Array, rng: np.random.RandomState, gray: bool) -> None:
    """A long thin straight line, in place. It is longer than any digit, lest it be a fair 1."""
    size = len(canvas)
    start, towards = rng.uniform(0, size, size=2), rng.uniform(-1, 1, size=2)
    length = rng.uniform(MAX_HEIGHT * 1.3, size * 1.2)
    direction = towards / max(float(np.sqrt((towards**2).sum())), 1e-6)
    half_width = rng.uniform(0.5, 1.6)
    dy, dx = np.arange(size)[:, None] - start[0], np.arange(size)[None, :] - start[1]
    along = np.clip(dy * direction[0] + dx * direction[1], 0, length)
    distance = np.sqrt((dy - along * direction[0]) ** 2 + (dx - along * direction[1]) ** 2)
    mask = np.clip(half_width + 0.5 - distance, 0, 1) * rng.uniform(0.3, 0.9)
    blend(canvas, mask, _random_color(rng, gray), 0, 0)


def draw_fragment(canvas: Array, rng: np.random.RandomState, gray: bool, glyphs: Array) -> None:
    """Three rows of a random glyph, in place: ink and curves of a digit, but no digit."""
    part = np.zeros((_CELLS, _CELLS))
    first = rng.randint(0, _CELLS - 2)
    part[first : first + 3] = glyphs[rng.randint(len(glyphs))][first : first + 3]
    height = rng.uniform(MIN_HEIGHT, MAX_HEIGHT)
    mask = warp_glyph(upsample_glyph(part), height, rng.uniform(-180, 180))
    x, y = rng.randint(0, len(canvas), size=2)
    against = float(luminance(canvas[y, x]))
    blend(canvas, mask, contrasting_color(rng, gray, against), int(x), int(y))


class _Placer:
    """Finds free places, and keeps the drawn digits' boxes and visible pixels."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.boxes: list[tuple[int, int, int, int]] = []
        self._owner = np.full((size, size), -1)  # which digit is on top
        self._areas: list[int] = []

    def place(self, mask: Array, rng: np.random.RandomState, tries: int = 20) -> bool:
        """Append a place for ``mask`` that hides no earlier digit; False if none was found."""
        height, width = mask.shape
        if not mask.size or max(height, width) > self.size - 2:
            return False
        inside = mask >= _INSIDE
        for _ in range(tries):
            x = int(rng.randint(1, self.size - width))
            y = int(rng.randint(1, self.size - height))
            box = (x, y, width, height)
            if all(box_iou(box, other) <= MAX_BOX_IOU for other in self.boxes):
                owner = self._owner.copy()
                owner[y : y + height, x : x + width][inside] = len(self.boxes)
                if self._all_visible(owner):
                    self._owner = owner
                    self.boxes.append(box)
                    self._areas.append(int(inside.sum()))
                    return True
        return False

    def _all_visible(self, owner: NDArray[np.intp]) -> bool:
        visible = np.bincount(owner.ravel() + 1, minlength=len(self._areas) + 1)[1:]
        return all(v >= MIN_VISIBLE * a for v, a in zip(visible, self._areas, strict=False))


def box_iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def _draw_digits(
    canvas: Array, rng: np.random.RandomState, gray: bool, glyphs: Array, labels: NDArray[np.int64]
) -> tuple[list[tuple[int, int, int, int]], list[int]]:
    placer = _Placer(len(canvas))
    drawn: list[int] = []
    for _ in range(rng.randint(MIN_DIGITS, MAX_DIGITS + 1)):
        source = rng.randint(len(glyphs))
        # Uniform in 1/height would be uniform in depth; a geometric mean of sizes sits between.
        height = MIN_HEIGHT * (MAX_HEIGHT / MIN_HEIGHT) ** np.round(rng.uniform(), 6)
        angle = rng.uniform(-MAX_ROTATION, MAX_ROTATION)
        mask = warp_glyph(upsample_glyph(glyphs[source]), float(np.round(height, 6)), angle)
        if not placer.place(mask, rng):
            continue
        x, y, width, height = placer.boxes[-1]
        region = canvas[y : y + height, x : x + width]
        against = float(luminance(region).mean())
        opacity = rng.uniform(0.8, 1.0)
        blend(canvas, mask * opacity, contrasting_color(rng, gray, against), x, y)
        drawn.append(int(labels[source]))
    return placer.boxes, drawn


def render_scene(
    rng: np.random.RandomState, glyphs: Array, labels: NDArray[np.int64], size: int = IMAGE_SIZE
) -> Scene:
    """Draw one image.

    Args:
        rng: The only source of randomness.
        glyphs: Source digits, (M, 8, 8), values in [0, 1].
        labels: Their classes 0..9, (M,).
        size: Side of the square canvas.
    """
    gray = bool(rng.uniform() < 0.3)
    canvas = draw_background(rng, gray, size)
    for _ in range(rng.randint(0, 4)):
        draw_stroke(canvas, rng, gray)
    for _ in range(rng.randint(0, 4)):
        draw_fragment(canvas, rng, gray, glyphs)
    boxes, drawn = _draw_digits(canvas, rng, gray, glyphs, labels)
    grain = rng.uniform(-1, 1, size=canvas.shape) * rng.uniform(2, 18)
    image = np.clip(np.round(canvas + grain), 0, 255).astype(np.uint8)
    return Scene(image, np.array(boxes, dtype=np.int64).reshape(-1, 4), np.array(drawn, np.int64))
