"""From pixels to a network's input, as MMDetection's test pipeline does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmptq.errors import MmptqError

Array = np.ndarray

_INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


@dataclass
class Image:
    """An image on its way.

    Args:
        pixels: ``(H, W, 3)``.
        scale: By which its width and height were multiplied.
    """

    pixels: Array
    scale: tuple[float, float] = (1.0, 1.0)


def load_image(image: str | Path | Array) -> Array:
    """Pixels ``(H, W, 3)``, BGR, of a file or of pixels.

    Raises:
        MmptqError: The file is no image, or the array has another form.
    """
    if not isinstance(image, np.ndarray):
        # Not cv2.imread: it cannot read paths of all characters on all systems.
        path = Path(image)
        if not path.is_file():
            raise MmptqError(f"there is no file {path}")
        data = np.frombuffer(path.read_bytes(), np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if pixels is None:
            raise MmptqError(f"{path} is no image that OpenCV reads")
        return pixels
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise MmptqError(
            f"an image has the shape (height, width, 3), BGR, this one has {image.shape}"
        )
    return image


def preprocess(
    images: Sequence[Array], steps: Sequence[Mapping[str, Any]]
) -> tuple[Array, Array, Array]:
    """A batch for the network.

    Args:
        images: Pixels as :func:`load_image` gives them.
        steps: Of the model's metadata.

    Returns:
        ``(N, 3, H, W)`` float32, smaller images filled up to the right and below; height and width
        of each before it was filled up ``(N, 2)``; and by which width and height of each were
        multiplied ``(N, 2)``.
    """
    done: list[Image] = []
    batch_padding: Mapping[str, Any] = {"divisor": 1, "value": [0.0] * 3}
    for pixels in images:
        image = Image(pixels)
        for step in steps:
            if step["op"] == "pad_batch":
                batch_padding = step
            else:
                _STEPS[step["op"]](image, step)
        done.append(image)
    sizes = [image.pixels.shape[:2] for image in done]
    to = [_up_to(max(side), batch_padding["divisor"]) for side in zip(*sizes, strict=True)]
    arrays = [_padded(image.pixels, to, batch_padding["value"]) for image in done]
    batch = np.stack(arrays).transpose(0, 3, 1, 2).astype(np.float32)
    scales = np.array([image.scale for image in done], np.float32)
    return np.ascontiguousarray(batch), np.array(sizes, np.float32), scales


def _resize(image: Image, step: Mapping[str, Any]) -> None:
    height, width = image.pixels.shape[:2]
    to = tuple(step["scale"])
    if step["keep_ratio"]:
        factor = min(max(to) / max(height, width), min(to) / min(height, width))
        to = int(width * factor + 0.5), int(height * factor + 0.5)
    image.pixels = cv2.resize(
        image.pixels, to, interpolation=_INTERPOLATIONS[step["interpolation"]]
    )
    image.scale = to[0] / width, to[1] / height


def _pad(image: Image, step: Mapping[str, Any]) -> None:
    height, width = image.pixels.shape[:2]
    if step["square"]:
        height = width = max(height, width)
    if step["size"]:
        width, height = max(width, step["size"][0]), max(height, step["size"][1])
    if step["divisor"]:
        height, width = _up_to(height, step["divisor"]), _up_to(width, step["divisor"])
    image.pixels = _padded(image.pixels, (height, width), step["value"])


def _to_float(image: Image, step: Mapping[str, Any]) -> None:
    image.pixels = image.pixels.astype(np.float32)


def _swap_channels(image: Image, step: Mapping[str, Any]) -> None:
    image.pixels = image.pixels[..., ::-1]


def _normalize(image: Image, step: Mapping[str, Any]) -> None:
    mean, std = (np.array(step[name], np.float32) for name in ("mean", "std"))
    image.pixels = (image.pixels.astype(np.float32) - mean) / std


_STEPS = {
    "resize": _resize,
    "pad": _pad,
    "to_float": _to_float,
    "swap_channels": _swap_channels,
    "normalize": _normalize,
}


def _padded(pixels: Array, to: Sequence[int], value: Sequence[float]) -> Array:
    """Filled up to the right and below."""
    height, width = pixels.shape[:2]
    whole = np.empty((to[0], to[1], 3), pixels.dtype)
    whole[:] = np.array(value).astype(pixels.dtype)
    whole[:height, :width] = pixels
    return whole


def _up_to(side: int, divisor: int) -> int:
    return -(-side // divisor) * divisor
