"""A detector from a file, for programs that have neither torch nor MMDetection."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmptq.errors import ConfigError
from mmptq.runtime.preprocess import Array, load_image, preprocess
from mmptq.runtime.session import RUNTIMES, open_session


@dataclass(frozen=True)
class Detections:
    """What was found in one image, the best first.

    Args:
        boxes: ``(K, 4)`` float32: left, top, right, bottom, in pixels of the image as it was given.
        scores: ``(K,)`` float32, from 0 to 1.
        labels: ``(K,)`` int64, indices into the detector's ``classes``.
        names: ``(K,)``, the classes' names.
    """

    boxes: Array
    scores: Array
    labels: Array
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)


class Detector:
    """A detector that ``tools/export.py`` wrote, with its pre- and post-processing.

    .. code-block:: python

        detector = Detector("quantized.onnx")
        found = detector("street.jpg", threshold=0.3)
        cv2.imwrite("found.jpg", detector.draw("street.jpg", found))

    It needs numpy, OpenCV and a runtime.

    Args:
        path: The file.
        runtime: Key of :data:`mmptq.runtime.RUNTIMES`; by default OpenVINO where it is installed.
        threads: CPU threads, by default as many as the runtime likes.

    Attributes:
        classes: Names.

    Raises:
        ConfigError: There is no such file, no runtime, or the file holds no whole detector.
        MmptqError: The file cannot be read or executed.
    """

    def __init__(
        self, path: str | Path, runtime: str | None = None, threads: int | None = None
    ) -> None:
        self._session = open_session(path, runtime or _installed(), threads)
        metadata = self._session.metadata
        if metadata.get("part") != "detector":
            found = metadata.get("part", "something else")
            raise ConfigError(
                f"{path} holds {found}: a Detector needs what tools/export.py --part detector wrote"
            )
        if metadata["preprocess"] is None:
            raise ConfigError(
                f"{path}: its config prepares images in a way that only MMDetection knows; "
                "prepare them yourself and use mmptq.runtime.open_session"
            )
        self.classes: tuple[str, ...] = tuple(metadata["classes"])

    def __call__(self, image: str | Path | Array, threshold: float = 0.0) -> Detections:
        """Find objects in one image.

        Args:
            image: A file, or pixels ``(H, W, 3)`` in OpenCV's order (BGR).
            threshold: Least score; below that of the model's config it has no effect.

        Raises:
            MmptqError: It is no image.
        """
        return self.batch([image], threshold)[0]

    def batch(
        self, images: Sequence[str | Path | Array], threshold: float = 0.0
    ) -> list[Detections]:
        """Find objects in several images at once; arguments as those of a call."""
        if not images:
            return []
        pixels = [load_image(image) for image in images]
        inputs, sizes, scales = preprocess(pixels, self._session.metadata["preprocess"])
        arrays = {"image": inputs, "size": sizes}
        found = self._session.run({name: arrays[name] for name in self._session.inputs})
        boxes = found["boxes"] / np.tile(scales, 2)[:, None]
        return [
            self._detections(*one, threshold)
            for one in zip(boxes, found["scores"], found["labels"], strict=True)
        ]

    def draw(self, image: str | Path | Array, found: Detections) -> Array:
        """A copy of the image with boxes, names and scores."""
        picture = load_image(image).copy()
        for box, score, label, name in zip(
            found.boxes, found.scores, found.labels, found.names, strict=True
        ):
            color = tuple(int(c) for c in _color(int(label)))
            left, top, right, bottom = (round(float(side)) for side in box)
            cv2.rectangle(picture, (left, top), (right, bottom), color, 2)
            place = left, max(top - 4, 12)
            cv2.putText(
                picture, f"{name} {score:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1
            )
        return picture

    def _detections(
        self, boxes: Array, scores: Array, labels: Array, threshold: float
    ) -> Detections:
        there = (labels >= 0) & (scores >= threshold)
        labels = labels[there]
        names = tuple(
            self.classes[i] if i < len(self.classes) else f"class {i}" for i in labels.tolist()
        )
        return Detections(boxes[there], scores[there], labels, names)


def _installed() -> str:
    """The runtime that is there; OpenVINO computes more layers in integers."""
    for name in ("openvino", *RUNTIMES):
        if importlib.util.find_spec(RUNTIMES[name].package) is not None:
            return name
    raise ConfigError("no runtime is installed: pip install mmptq[openvino], or mmptq[onnx]")


def _color(label: int) -> Array:
    """Far apart for neighbouring labels (golden angle), BGR."""
    hue = np.array([[[label * 111 % 180, 220, 230]]], np.uint8)
    return cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0]
