"""Pictures of detections, float beside quantized, made as small as the page needs them."""

import base64
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mmptq.report.run import Run
from mmptq.report.section import Section, paragraph
from mmptq.webpage import for_html, link_to

FOLDER = "pictures"
_ENDINGS = (".jpg", ".jpeg", ".png")
_WIDEST = 1600  # pixels
_QUALITY = 85
_SCALES = (1.0, 0.7, 0.5, 0.35)
_MOST = 24
_LARGEST_FILE = 32_000_000  # bytes; such a picture is none of this project's

Picture = NDArray[np.uint8]


def pictures_section(run: Run, budget: int) -> Section | None:
    """The run's pictures in at most ``budget`` bytes: scaled, or left out where that is too large.

    Args:
        run: Whose.
        budget: Bytes of HTML.

    Returns:
        ``None`` of a classifier without any.
    """
    paths = picture_files(run)
    if not paths:
        return _without(run)
    opened = [(path, picture) for path in paths[:_MOST] if (picture := _open(path)) is not None]
    figures, scale = _fitting(opened, run.folder, budget)
    notes = []
    if figures and scale < 1.0:
        notes.append(paragraph(f"Reduced to {scale:.0%} to keep the page small.", "dim"))
    if len(figures) < len(paths):
        said = f"{len(figures)} of {len(paths)} pictures are here; all are in {FOLDER}/."
        notes.append(paragraph(said, "note"))
    return Section("pictures", "Detections", "\n".join([*notes, *figures]))


def picture_files(run: Run) -> list[Path]:
    """Those of this run; all in the folder where it is not recorded which these are."""
    folder = run.folder / FOLDER
    if not folder.is_dir():
        return []
    there = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
    if run.record is None:
        return there
    return [path for path in there if path.name in run.record.pictures]


def _without(run: Run) -> Section | None:
    if run.record is not None and not run.record.boxes:
        return None
    said = "None were drawn: calib_hooks.pictures is off, or no test image was run by this run."
    return Section("pictures", "Detections", paragraph(said, "note"))


def _fitting(
    pictures: list[tuple[Path, Picture]], folder: Path, budget: int
) -> tuple[list[str], float]:
    """All at the largest scale at which they fit; else as many as fit at the smallest."""
    figures: list[str] = []
    for scale in _SCALES:
        figures = list(_figures(pictures, folder, scale))
        if _size(figures) <= budget:
            return figures, scale
    while figures and _size(figures) > budget:
        figures.pop()
    return figures, _SCALES[-1]


def _size(figures: list[str]) -> int:
    return sum(len(figure.encode()) + 1 for figure in figures)


def _figures(pictures: list[tuple[Path, Picture]], folder: Path, scale: float) -> Iterator[str]:
    for path, picture in pictures:
        small = _reduced(picture, scale)
        _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        height, width = small.shape[:2]
        url = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
        name, link = for_html(path.stem), for_html(link_to(path, folder))
        yield (
            f'<figure class="picture"><a href="{link}"><img src="{url}" width="{width}" '
            f'height="{height}" alt="Detections on {name}"></a>'
            f"<figcaption>{name}</figcaption></figure>"
        )


def _reduced(picture: Picture, scale: float) -> Picture:
    factor = min(_WIDEST / picture.shape[1], 1.0) * scale
    if factor == 1.0:
        return picture
    size = (max(round(picture.shape[1] * factor), 1), max(round(picture.shape[0] * factor), 1))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _open(path: Path) -> Picture | None:
    """The picture as OpenCV reads it, so that nothing else of the file reaches the page."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return None
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError:
        return None
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    return None if picture is None else np.asarray(picture, dtype=np.uint8)
