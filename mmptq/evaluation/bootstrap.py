"""How far a mAP, and a difference of two, would move with other validation images.

Images are drawn with replacement, the same ones for every model (paired bootstrap: Efron and
Tibshirani, An Introduction to the Bootstrap, 1993). Each image is matched once, by pycocotools.
"""

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmptq.errors import ConfigError
from mmptq.evaluation.resampling import CategoryMatches, Draws

Track = Callable[[Iterable[int]], Iterable[int]]

_BLOCK = 2**20  # numbers in an array over draws: 8 MB, which stay in a processor's cache


class Resampled(Protocol):
    """A model's figure on resampled images."""

    num_images: int

    @property
    def numbers_a_draw(self) -> int:
        """Size of the largest array that one draw takes."""
        ...

    def on_draws(self, draws: Draws) -> np.ndarray:
        """Measure each draw, from 0 to 1."""
        ...


class ResampledMap:
    """COCO's box mAP (IoU 0.50:0.95, 100 detections an image) of a model on resampled images.

    Args:
        truth: The annotations, loaded by :func:`load_truth`.
        predictions: Detections in COCO's JSON format, as ``test_evaluator.outfile_prefix`` of
            MMDetection's ``CocoMetric`` writes them.

    Raises:
        ConfigError: The file is missing, is no list of detections, or is of other images.
    """

    def __init__(self, truth: COCO, predictions: str | Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator = COCOeval(truth, _load_detections(truth, predictions), "bbox")
            evaluator.params.areaRng = evaluator.params.areaRng[:1]
            evaluator.params.areaRngLbl = evaluator.params.areaRngLbl[:1]
            evaluator.params.maxDets = [100]
            evaluator.evaluate()
        self.num_images = len(evaluator.params.imgIds)
        self._recalls = evaluator.params.recThrs
        self._num_thresholds = len(evaluator.params.iouThrs)
        # Of one row a category: evaluate() lists the images of the first category, then the next's.
        rows = [
            evaluator.evalImgs[i : i + self.num_images]
            for i in range(0, len(evaluator.evalImgs), self.num_images)
        ]
        # A category without an object or a detection has no precision.
        self._categories = [CategoryMatches(row) for row in rows if any(row)]

    def __call__(self, images: Sequence[int] | np.ndarray) -> float:
        """Measure on the images at these positions.

        Args:
            images: ``num_images`` positions, in any order and with any repeats.

        Returns:
            mAP from 0 to 1; NaN where these images hold no object.
        """
        return float(self.on_draws(Draws(np.array([list(images)]), self.num_images))[0])

    @property
    def numbers_a_draw(self) -> int:
        """Size of the largest array that one draw takes."""
        precisions = self._num_thresholds * len(self._recalls) * len(self._categories)
        return max([precisions, *(category.num_detections for category in self._categories)])

    def on_draws(self, draws: Draws) -> np.ndarray:
        """Measure each draw: mAP from 0 to 1, NaN where its images hold no object."""
        # In the order of pycocotools' array, so that the mean adds up in its order.
        form = len(draws), self._num_thresholds, len(self._recalls), len(self._categories)
        precision = np.empty(form)
        for i, category in enumerate(self._categories):
            precision[..., i] = category.precision(draws, self._recalls)
        # -1: no object of the category on these images
        known = [found[found > -1] for found in precision]
        return np.array([found.mean() if found.size else np.nan for found in known])


def bootstrap(
    models: Sequence[Resampled], samples: int, seed: int = 0, track: Track = iter
) -> np.ndarray:
    """Draw images and measure every model on the same ones.

    Args:
        models: Of one set of images.
        samples: How often images are drawn.
        seed: Of the draws.
        track: Wraps the loop over blocks of draws, to show how far it is.

    Returns:
        From 0 to 1, ``(samples, models)``.
    """
    generator = np.random.default_rng(seed)
    count = models[0].num_images
    images = generator.integers(count, size=(samples, count))
    size = max(1, _BLOCK // max(model.numbers_a_draw for model in models))
    result = np.empty((samples, len(models)))
    for start in track(range(0, samples, size)):
        draws = Draws(images[start : start + size], count)
        for i, model in enumerate(models):
            result[start : start + size, i] = model.on_draws(draws)
    return result


def load_truth(annotations: str | Path) -> COCO:
    """COCO annotations, without pycocotools' prints.

    Raises:
        ConfigError: The file is missing or holds no annotated images.
    """
    data = _read_json(annotations, "annotations")
    if not isinstance(data, dict) or not data.get("images") or not data.get("annotations"):
        raise ConfigError(f"{annotations}: no COCO annotations: give the JSON of the test set")
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(annotations))


def _load_detections(truth: COCO, predictions: str | Path) -> COCO:
    detections = _read_json(predictions, "predictions")
    keys = {"image_id", "category_id", "bbox", "score"}
    if detections == []:
        raise ConfigError(
            f"{predictions} holds no detections: the model detected nothing on any image, so its "
            "mAP is 0 and there is nothing to compare; give it more bits, or another recipe"
        )
    if not isinstance(detections, list) or not keys <= set(detections[0]):
        raise ConfigError(
            f"{predictions}: no detections in COCO's JSON format, a list of {sorted(keys)}: "
            "give the file that test_evaluator.outfile_prefix makes (<prefix>.bbox.json)"
        )
    strange = {found["image_id"] for found in detections} - set(truth.imgs)
    if strange:
        raise ConfigError(
            f"{predictions}: image_id {min(strange)} and {len(strange) - 1} more are not among the "
            "annotations' images: the file is of another set"
        )
    return truth.loadRes(detections)


def _read_json(path: str | Path, what: str) -> object:
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"{what}: cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{what}: {path} is not JSON: {error}") from error
