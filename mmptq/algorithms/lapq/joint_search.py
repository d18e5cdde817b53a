"""LAPQ's third phase: all steps together, by a gradient-free search on the loss."""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmptq.algorithms.base import Step
from mmptq.algorithms.lapq.optimizers import OPTIMIZERS
from mmptq.algorithms.lapq.plots import plot_search
from mmptq.algorithms.lapq.search_space import GROUPS, SCALES, SearchSpace
from mmptq.algorithms.lapq.state import model_digest
from mmptq.engine import CalibrationContext, LossEvaluator, SearchLog
from mmptq.errors import ConfigError, NumericalError
from mmptq.registry import OBJECTIVES, STEPS, build

LOG_NAME = "joint_search.jsonl"
_EXPECTED_PER_LINE = 9  # evaluations of one line search, for the ETA
_REPORT_SECONDS = 10.0
_WORST = 1e30  # what an optimizer is told in place of infinity, with which it cannot compute


@STEPS.register_module()
class JointSearch(Step):
    """Optimizes all quantization steps jointly (LAPQ, section 4.3).

    Starts from the ranges that the steps before it set, and ends at the best point that was ever
    evaluated, so it is never worse than its start by its own objective. Every evaluation is in
    ``<work_dir>/stages/joint_search.jsonl``; a run that was killed goes on from there.

    Args:
        objective: The loss, a config of a class registered in ``OBJECTIVES``.
        optimizer: ``'Powell'``, ``'CoordinateDescent'``, ``'NelderMead'`` or ``'COBYLA'``.
        max_iters: Iterations; Powell's first searches once along every variable.
        max_evals: Evaluations after which the search ends, ``None`` for no limit.
        group: ``'tensor'`` (the paper) or ``'unit'``, see :class:`SearchSpace`.
        scale: ``'log'`` or ``'linear'`` multipliers.
        bounds: Least and largest multiplier of a step.
        resolution: Grid of the multipliers.
        incremental: Recompute only what lies behind the steps that changed.
        cache_gb: Memory budget of the loss evaluation, in GiB.

    Raises:
        ConfigError: An argument that cannot work.
    """

    def __init__(
        self,
        objective: Mapping[str, Any] = {"type": "TaskLoss"},  # noqa: B006
        optimizer: str = "Powell",
        max_iters: int = 1,
        max_evals: int | None = None,
        group: str = "tensor",
        scale: str = "log",
        bounds: tuple[float, float] = (0.25, 4.0),
        resolution: float = 0.01,
        incremental: bool = True,
        cache_gb: float = 2.0,
    ) -> None:
        build(OBJECTIVES, objective, "JointSearch.objective")
        _check_choice("optimizer", optimizer, tuple(OPTIMIZERS))
        _check_choice("group", group, GROUPS)
        _check_choice("scale", scale, SCALES)
        for key, value in (("max_iters", max_iters), ("max_evals", max_evals)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"JointSearch.{key} = {value!r}: must be 1 or more")
        if len(bounds) != 2 or not 0.0 < bounds[0] <= 1.0 <= bounds[1]:
            raise ConfigError(f"JointSearch.bounds = {bounds!r}: must be 0 < least <= 1 <= largest")
        if not 0.0 < resolution < 1.0:
            raise ConfigError(f"JointSearch.resolution = {resolution!r}: must be in (0, 1)")
        self.objective, self.optimizer = dict(objective), optimizer
        self.max_iters, self.max_evals = max_iters, max_evals
        self.space = {
            "group": group,
            "scale": scale,
            "bounds": tuple(bounds),
            "resolution": resolution,
        }
        self.incremental, self.cache_gb = incremental, cache_gb

    def run(self, context: CalibrationContext) -> None:
        """Change the steps of the model's quantizers."""
        space = SearchSpace(context.model, **self.space)  # type: ignore[arg-type]
        search = _Search(self, context, space)
        try:
            OPTIMIZERS[self.optimizer](search, np.zeros(len(space)), self.max_iters)
        except _BudgetSpentError:
            pass
        finally:
            search.close()
        space.apply(search.best_point)
        print_log(search.summary(), logger="current")
        if is_main_process():
            plot_search(search.losses, context.store.folder.parent / "joint_search.png")

    def header(self, context: CalibrationContext) -> dict[str, Any]:
        """What the values of a point depend on."""
        return {
            "step": "JointSearch",
            "objective": self.objective,
            "space": self.space,
            "start": model_digest(context.model, ranges=True),
        }


class _BudgetSpentError(Exception):
    """Ends an optimizer from within the function that it minimises."""


class _Search:
    """The function that the optimizer minimises, with all that is around it."""

    def __init__(self, step: JointSearch, context: CalibrationContext, space: SearchSpace) -> None:
        self._space, self._max_evals = space, step.max_evals
        self._log = SearchLog(context.store.folder / LOG_NAME, step.header(context))
        self._make_evaluator = lambda: LossEvaluator(
            context, step.objective, step.incremental, step.cache_gb
        )
        self._evaluator: LossEvaluator | None = None
        self._seen: dict[tuple[float, ...], float] = {}
        self._started = self._reported = time.monotonic()
        self.losses: list[float] = []
        self.best_point = space.rounded([0.0] * len(space))
        self.best_loss = math.inf
        self._done = False
        total = step.max_evals or step.max_iters * len(space) * _EXPECTED_PER_LINE
        self._progress = context.track(self._ticks(), "joint search", total)

    def __call__(self, x: np.ndarray) -> float:
        """Loss at ``x``, very large where it is not finite."""
        return min(self._loss(self._space.rounded(x)), _WORST)

    def _loss(self, point: tuple[float, ...]) -> float:
        if point in self._seen:
            return self._seen[point]
        if self._max_evals is not None and len(self.losses) >= self._max_evals:
            raise _BudgetSpentError
        next(self._progress)
        loss = self._evaluate(point)
        loss = loss if math.isfinite(loss) else math.inf
        self._seen[point] = loss
        self.losses.append(loss)
        if loss < self.best_loss:
            self.best_point, self.best_loss = point, loss
        self._report(loss)
        return loss

    def close(self) -> None:
        """End the progress report and close the log."""
        self._done = True
        next(self._progress, None)
        self._log.close()

    def summary(self) -> str:
        """One line for the log.

        Raises:
            NumericalError: No loss was finite.
        """
        if not math.isfinite(self.best_loss):
            raise NumericalError(
                "JointSearch: the loss is not finite at any point; start from better ranges"
            )
        seconds = time.monotonic() - self._started
        return (
            f"JointSearch: loss {self.losses[0]:.5f} -> {self.best_loss:.5f} in "
            f"{len(self.losses)} evaluations over {len(self._space)} variables, {seconds:.0f} s"
        )

    def _evaluate(self, point: tuple[float, ...]) -> float:
        """From the log, where an earlier run wrote it down."""
        if point not in self._log.values:
            self._space.apply(point)
            if self._evaluator is None:
                self._evaluator = self._make_evaluator()
            loss = self._evaluator()
            best = min(loss, self.best_loss) if math.isfinite(loss) else self.best_loss
            seconds = round(time.monotonic() - self._started, 3)
            self._log.add(point, loss, best=best, seconds=seconds)
        return self._log.values[point]

    def _report(self, loss: float) -> None:
        if time.monotonic() - self._reported > _REPORT_SECONDS:
            self._reported = time.monotonic()
            text = f"{len(self.losses)} evaluations, loss {loss:.5f}, best {self.best_loss:.5f}"
            print_log(f"joint search: {text} (start {self.losses[0]:.5f})", logger="current")

    def _ticks(self) -> Iterator[None]:
        while not self._done:
            yield None


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"JointSearch.{key} = {value!r}: must be one of {', '.join(choices)}")
