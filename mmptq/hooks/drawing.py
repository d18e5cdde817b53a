"""Detections drawn side by side."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPTION_HEIGHT = 34
_GAP = 8
_BACKGROUND = 255
_MIN_SIDE, _MAX_SIDE = 480, 720  # of the longer side of a panel


@dataclass(frozen=True)
class Boxes:
    """Detections on one image.

    Args:
        boxes: ``(N, 4)`` corners x1, y1, x2, y2 in pixels of the original image.
        scores: ``(N,)``.
        labels: ``(N,)`` class indices.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class ClassStyle:
    """How classes are named and coloured; indices beyond the lists get a default.

    Args:
        names: Class names.
        palette: RGB, 0..255.
    """

    names: Sequence[str] = ()
    palette: Sequence[Color] = ()

    @classmethod
    def from_meta(cls, meta: Any) -> "ClassStyle":
        """Read a dataset's metainfo, the first of several; a palette must be a list of colours."""
        meta = (meta[0] if isinstance(meta, list | tuple) and meta else meta) or {}
        palette = meta.get("palette")
        if not isinstance(palette, list | tuple):
            palette = ()
        colors = tuple((int(c[0]), int(c[1]), int(c[2])) for c in palette)
        return cls(tuple(meta.get("classes") or ()), colors)

    def name(self, label: int) -> str:
        """Name of class ``label``."""
        return str(self.names[label]) if label < len(self.names) else f"class {label}"

    def color(self, label: int) -> Color:
        """RGB of class ``label``."""
        if label < len(self.palette):
            return self.palette[label]
        # Steps of the golden ratio around the colour circle keep neighbours apart.
        red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1.0, 0.9, 0.95)
        return int(255 * red), int(255 * green), int(255 * blue)


def draw_comparison(
    image: Image, panels: Sequence[tuple[str, Boxes]], style: ClassStyle, per_row: int = 4
) -> Image:
    """One panel per ``(caption, detections)``, in rows of ``per_row``.

    Args:
        image: ``(H, W, 3)`` RGB. Small ones are enlarged so that a person can see them, large ones
            are reduced.
        panels: Captions and detections.
        style: Names and colours.
        per_row: Panels beside each other.

    Returns:
        ``(H', W', 3)`` RGB.
    """
    drawn = [_with_caption(draw_boxes(image, boxes, style), text) for text, boxes in panels]
    height, width = drawn[0].shape[:2]
    columns = min(per_row, len(drawn))
    rows = -(-len(drawn) // columns)
    shape = (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3)
    canvas = np.full(shape, _BACKGROUND, dtype=np.uint8)
    for i, panel in enumerate(drawn):
        top = _GAP + (i // columns) * (height + _GAP)
        left = _GAP + (i % columns) * (width + _GAP)
        canvas[top : top + height, left : left + width] = panel
    return canvas


def draw_boxes(image: Image, detections: Boxes, style: ClassStyle) -> Image:
    """A resized copy of ``image`` with boxes and labels, the most certain ones on top."""
    scale = panel_scale(image.shape[0], image.shape[1])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    canvas: Image = np.array(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)
    order = np.argsort(detections.scores, kind="stable")
    corners = (detections.boxes * scale).round().astype(int).tolist()
    colors = [style.color(int(label)) for label in detections.labels]
    for i in order:
        x1, y1, x2, y2 = corners[i]
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colors[i], 3)
    for i in order:  # after all boxes, whose lines would cross them out
        text = f"{style.name(int(detections.labels[i]))} {detections.scores[i]:.2f}"
        _draw_label(canvas, corners[i], text, colors[i])
    return canvas


def panel_scale(height: int, width: int) -> float:
    """Factor that brings the longer side into the readable range."""
    longer = max(height, width)
    return min(max(longer, _MIN_SIDE), _MAX_SIDE) / longer


def _draw_label(canvas: Image, corners: Sequence[int], text: str, color: Color) -> None:
    (width, height), baseline = cv2.getTextSize(text, _FONT, 0.5, 1)
    left = max(min(corners[0] - 1, canvas.shape[1] - width - 4), 0)
    # Above the box; inside it where there is no room above.
    bottom = (
        corners[1] if corners[1] > height + baseline + 4 else corners[1] + height + baseline + 4
    )
    top = bottom - height - baseline - 4
    cv2.rectangle(canvas, (left, top), (left + width + 4, bottom), color, cv2.FILLED)
    origin = (left + 2, bottom - baseline - 1)
    cv2.putText(canvas, text, origin, _FONT, 0.5, _ink(color), 1, cv2.LINE_AA)


def _ink(color: Color) -> Color:
    """Black or white, whichever is readable on ``color`` (luma of ITU-R BT.601)."""
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    return (0, 0, 0) if luma > 128 else (255, 255, 255)


def _with_caption(panel: Image, text: str) -> Image:
    height, width = panel.shape[:2]
    canvas = np.full((height + _CAPTION_HEIGHT, width, 3), _BACKGROUND, dtype=np.uint8)
    canvas[_CAPTION_HEIGHT:] = panel
    size = 0.65
    (text_width, _), _ = cv2.getTextSize(text, _FONT, size, 1)
    size = min(size, size * (width - 4) / max(text_width, 1))
    cv2.putText(canvas, text, (2, _CAPTION_HEIGHT - 10), _FONT, size, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas
