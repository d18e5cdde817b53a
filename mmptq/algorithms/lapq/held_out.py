"""Losses that are written down, and the check of a search on images that it did not see."""

import math
from collections.abc import Callable

from mmptq.algorithms.lapq.search_space import Point, SearchSpace
from mmptq.engine import LossEvaluator, SearchLog


class LoggedLoss:
    """The loss at points of a search space; what the log holds is not evaluated again.

    Args:
        space: Sets the model's steps.
        log: Of these losses.
        make_evaluator: Called when a loss is first evaluated.
    """

    def __init__(
        self, space: SearchSpace, log: SearchLog, make_evaluator: Callable[[], LossEvaluator]
    ) -> None:
        self._space, self.log = space, log
        self._make_evaluator = make_evaluator
        self._evaluator: LossEvaluator | None = None
        self.best = math.inf

    def __call__(self, point: Point) -> float:
        """Loss at ``point``, infinite where it is not a finite number."""
        if point not in self.log.values:
            self._space.apply(point)
            if self._evaluator is None:
                self._evaluator = self._make_evaluator()
            loss = self._evaluator()
            best = min(loss, self.best) if math.isfinite(loss) else self.best
            self.log.add(point, loss, best=best)
        loss = self.log.values[point]
        loss = loss if math.isfinite(loss) else math.inf
        self.best = min(loss, self.best)
        return loss

    def __enter__(self) -> "LoggedLoss":
        return self

    def __exit__(self, *args: object) -> None:
        self._evaluator = None  # with the outputs that it keeps
        self.log.close()


def confirmed(point: Point, loss: Callable[[Point], float]) -> Point:
    """``point`` without the moves that ``loss`` does not confirm.

    Each coordinate in turn goes back to 0 where that does not raise the loss. A search over few
    images also fits what is particular to them; the moves that it makes for that are, one by one,
    of no use on other images.

    Args:
        point: Best point of a search that started from zeros.
        loss: On images that the search did not see.

    Returns:
        A point whose loss is no greater than that of ``point`` and that of the start.
    """
    start = (0.0,) * len(point)
    at_start, best, least = loss(start), point, loss(point)
    for i, value in enumerate(point):
        if value != 0.0:
            back = (*best[:i], 0.0, *best[i + 1 :])
            at_back = loss(back)
            if at_back <= least:
                best, least = back, at_back
    return best if least < at_start else start
