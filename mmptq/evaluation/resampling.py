"""COCO's precision over recall on many draws of the same images, all draws at once.

Which object a detection is matched with depends on its image alone. What depends on the draw is
how often each image is in it; and, among equal scores, in which order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Draws:
    """Images that were drawn with replacement.

    Args:
        images: Positions of images, ``(draws, images a draw)``.
        num_images: How many images there are.
    """

    def __init__(self, images: Integers, num_images: int) -> None:
        self.images = images
        number = np.arange(len(images))[:, None] * num_images
        found = np.bincount((number + images).ravel(), minlength=len(images) * num_images)
        self.counts = found.reshape(len(images), num_images)

    def __len__(self) -> int:
        return len(self.images)


class CategoryMatches:
    """How the detections of one category were matched, in the order of their scores.

    Args:
        matches: Of each image, what ``COCOeval.evaluateImg`` returns; not all ``None``.
    """

    def __init__(self, matches: Sequence[Mapping[str, Any] | None]) -> None:
        found = [(i, match) for i, match in enumerate(matches) if match is not None]
        scores = np.concatenate([match["dtScores"] for _, match in found])
        image = np.repeat([i for i, _ in found], [len(match["dtScores"]) for _, match in found])
        order = np.argsort(-scores, kind="stable")
        ignored = np.concatenate([match["dtIgnore"] for _, match in found], axis=1)[:, order] != 0
        matched = np.concatenate([match["dtMatches"] for _, match in found], axis=1)[:, order] != 0
        self._image: Integers = image[order].astype(np.int64)
        self._ignored = ignored  # (IoU thresholds, detections)
        self._hit = matched & ~ignored  # the same
        self._objects = np.zeros(len(matches), np.int64)  # of each image
        for i, match in found:
            self._objects[i] = np.count_nonzero(np.equal(match["gtIgnore"], 0))
        self._find_ties(scores[order])

    @property
    def num_detections(self) -> int:
        """Of all images."""
        return len(self._image)

    def _find_ties(self, scores: Floats) -> None:
        """Equal scores whose order matters, since they were not matched alike."""
        first = np.concatenate([[True], scores[1:] != scores[:-1]])[: len(scores)]
        self._score = np.cumsum(first) - 1  # numbers the scores
        start = np.flatnonzero(first)[self._score]
        same = (self._hit == self._hit[:, start]) & (self._ignored == self._ignored[:, start])
        self._tied = np.isin(self._score, self._score[~same.all(axis=0)])
        tied = np.flatnonzero(self._tied)
        self._tied_by_image = tied[np.argsort(self._image[tied], kind="stable")]
        self._ties_of_image = np.bincount(self._image[tied], minlength=len(self._objects))

    def precision(self, draws: Draws, recalls: Floats) -> Floats:
        """As ``COCOeval.accumulate`` computes it for each draw, to the last bit.

        Args:
            draws: Of the images.
            recalls: Where to read the precision, rising.

        Returns:
            ``(draws, IoU thresholds, recalls)``; -1 where a draw holds no object.
        """
        objects = draws.counts @ self._objects
        result = np.full((len(draws), len(self._hit), len(recalls)), -1.0)
        there = objects > 0
        if not there.any():
            return result
        needed = _hits_needed(objects, recalls)
        sequence, ends = self._sequence(draws)
        draw_of = np.repeat(np.arange(len(draws)), np.diff(ends, prepend=0))
        candidates = np.flatnonzero(self._hit.any(axis=0)[sequence])
        for t, hit in enumerate(self._hit):
            at = candidates[hit[sequence[candidates]]]
            seen = _numbered(at, ends, draw_of[at])
            if self._ignored[t].any():
                seen -= _counted(self._ignored[t][sequence], ends, at, draw_of[at])
            curves = _falling_curves(seen, draw_of[at], objects)
            result[there, t] = np.take_along_axis(curves, needed, axis=1)[there]
        return result

    def _sequence(self, draws: Draws) -> tuple[Integers, Integers]:
        """The detections in each draw, one draw after the other, and where each draw ends."""
        copies = draws.counts[:, self._image]
        sequence = np.repeat(np.tile(np.arange(self.num_detections), len(draws)), copies.ravel())
        sequence[self._tied[sequence]] = self._ties_as_drawn(draws)
        return sequence, np.cumsum(copies.sum(axis=1))

    def _ties_as_drawn(self, draws: Draws) -> Integers:
        """Tied detections of each draw by score, equal ones in the order of the draw's images.

        So pycocotools sorts them: not at all.
        """
        count = self._ties_of_image[draws.images]
        first = (np.cumsum(self._ties_of_image) - self._ties_of_image)[draws.images].ravel()
        flat = count.ravel()
        inside = np.arange(flat.sum()) - np.repeat(np.cumsum(flat) - flat, flat)
        drawn = self._tied_by_image[np.repeat(first, flat) + inside]
        draw = np.repeat(np.arange(len(draws)), count.sum(axis=1))
        key = draw * (self.num_detections + 1) + self._score[drawn]
        return drawn[np.argsort(key, kind="stable")]


def _hits_needed(objects: Integers, recalls: Floats) -> Integers:
    """Index of the hit that reaches each recall, ``(draws, recalls)``."""
    numbers, which = np.unique(objects, return_inverse=True)
    found = [np.searchsorted(np.arange(1, n + 1) / max(n, 1), recalls) for n in numbers]
    return np.stack(found)[which]


def _numbered(at: Integers, ends: Integers, draw: Integers) -> Integers:
    """The how manieth of its draw, from 1, is each place in the sequence of all draws."""
    starts = np.concatenate([[0], ends[:-1]])
    return at + 1 - starts[draw]


def _counted(flags: NDArray[np.bool_], ends: Integers, at: Integers, draw: Integers) -> Integers:
    """How many flags of the same draw stand before each place."""
    before = np.concatenate([[0], np.cumsum(flags)])
    starts = np.concatenate([[0], ends[:-1]])
    return before[at] - before[starts[draw]]


def _falling_curves(seen: Integers, draw: Integers, objects: Integers) -> Floats:
    """The best precision at each hit or behind it, ``(draws, most objects of a draw + 1)``.

    Between two hits precision only falls, so the best is at a hit; behind the last it is 0.

    Args:
        seen: How many detections up to each hit count.
        draw: Of each hit; all hits of the first draw come first.
        objects: Of each draw.
    """
    hits = np.bincount(draw, minlength=len(objects))
    rank = _numbered(np.arange(len(draw)), np.cumsum(hits), draw)
    curves = np.zeros((len(objects), int(objects.max()) + 1))
    curves[draw, rank - 1] = rank / (seen + np.spacing(1))
    return np.maximum.accumulate(curves[:, ::-1], axis=1)[:, ::-1]
