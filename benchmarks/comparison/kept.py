"""What a cell found on every test image, kept in its folder; and its metric on drawn images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook

from mmptq.errors import MmptqError
from mmptq.evaluation.bootstrap import Resampled, ResampledMap, bootstrap, load_truth
from mmptq.evaluation.resampling import Draws
from mmptq.fileio import atomic_write, save_json

DRAWS, SEED = 1000, 0  # the same images are drawn for every cell of a test set
DRAWS_FILE = "draws.npy"
HITS_FILE = "hits.json"
_ROUNDING = 0.06  # of a percentage: MMDetection gives three decimals of the fraction


class KeepHits(Hook):
    """Writes which test images a classifier gets right.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / HITS_FILE
        self._hits: list[int] = []

    def before_test_epoch(self, runner: Any) -> None:
        """Begin anew."""
        self._hits = []

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Of equal scores the first class counts, as in the top-1 of the evaluator."""
        self._hits += [int(s.pred_score.argmax() == s.gt_label.squeeze()) for s in outputs]

    def after_test_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Write them."""
        save_json(self._file, self._hits, indent=None)


class ResampledTop1:
    """Top-1 of a classifier on resampled images, from 0 to 1.

    Args:
        hits: Of each image, 1 where it is right.
    """

    def __init__(self, hits: Sequence[int]) -> None:
        self._hits = np.array(hits, dtype=float)
        self.num_images = self.numbers_a_draw = len(hits)

    def on_draws(self, draws: Draws) -> np.ndarray:
        """Measure each draw."""
        return draws.counts @ self._hits / draws.counts.sum(axis=1)


class ResampledNothing:
    """A detector that found nothing on any image: its mAP is 0 on all draws."""

    def __init__(self, num_images: int) -> None:
        self.num_images = self.numbers_a_draw = num_images

    def on_draws(self, draws: Draws) -> np.ndarray:
        """Zeros."""
        return np.zeros(len(draws))


def keep_draws(folder: Path, found: Path, annotations: str | None, measured: float) -> None:
    """Draw test images and keep the metric on each draw, in percent, in the cell's folder.

    Args:
        folder: The cell's.
        found: Detections in COCO's JSON form, or hits.
        annotations: Of the test set; None: ``found`` holds hits.
        measured: The metric on all images, in percent, which must come out again.

    Raises:
        MmptqError: It does not.
    """
    model = _resampled(found, annotations)
    everything = Draws(np.arange(model.num_images)[None], model.num_images)
    again = 100 * float(model.on_draws(everything)[0])
    if not abs(again - measured) < _ROUNDING:
        raise MmptqError(f"{found} gives {again:.2f}, the evaluator {measured:.2f}")
    drawn = 100 * bootstrap([model], DRAWS, SEED)[:, 0]
    with atomic_write(folder / DRAWS_FILE) as file:
        np.save(file, drawn.astype(np.float32))


def read_draws(folder: Path) -> np.ndarray | None:
    """What was kept; None where nothing was."""
    file = folder / DRAWS_FILE
    return np.load(file) if file.is_file() else None


def _resampled(found: Path, annotations: str | None) -> Resampled:
    if annotations is None:
        return ResampledTop1(json.loads(found.read_text()))
    truth = load_truth(annotations)
    if not found.is_file() or json.loads(found.read_text()) == []:
        return ResampledNothing(len(truth.imgs))
    return ResampledMap(truth, found)
