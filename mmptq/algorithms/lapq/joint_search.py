"""LAPQ's third phase: all steps together, by a gradient-free search on the loss."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmptq.algorithms.base import Step
from mmptq.algorithms.lapq.held_out import LoggedLoss, confirmed
from mmptq.algorithms.lapq.optimizers import OPTIMIZERS
from mmptq.algorithms.lapq.plots import plot_search
from mmptq.algorithms.lapq.report import SearchReport
from mmptq.algorithms.lapq.search_space import GROUPS, SCALES, Point, SearchSpace
from mmptq.engine import CalibrationContext, LossEvaluator, SearchLog
from mmptq.errors import ConfigError, NumericalError
from mmptq.models import model_digest
from mmptq.registry import OBJECTIVES, STEPS, build

LOG_NAME = "joint_search.jsonl"
HELD_OUT_LOG_NAME = "joint_search_held_out.jsonl"
_EXPECTED_PER_LINE = 9  # evaluations of one line search, for the ETA
_REPORT_SECONDS = 10.0
_WORST = 1e30  # what an optimizer is told in place of infinity, with which it cannot compute


@STEPS.register_module()
class JointSearch(Step):
    """Optimizes all quantization steps jointly (LAPQ, section 4.3).

    Starts from the ranges that the steps before it set, and ends at the best point that was ever
    evaluated, so it is never worse than its start by its own objective. Every evaluation is in
    ``<work_dir>/stages/joint_search.jsonl``; a run that was killed goes on from there.

    With few images, part of what a search finds holds for these images only. ``held_out`` keeps
    a share of them from the search and takes back each move that these do not confirm.

    Args:
        objective: The loss, a config of a class registered in ``OBJECTIVES``.
        optimizer: ``'Powell'``, ``'CoordinateDescent'``, ``'NelderMead'`` or ``'COBYLA'``.
        max_iters: Iterations; Powell's first searches once along every variable.
        max_evals: Evaluations after which the search ends, ``None`` for no limit.
        group: ``'tensor'`` (the paper) or ``'unit'``, see :class:`SearchSpace`.
        scale: ``'log'`` or ``'linear'`` multipliers.
        bounds: Least and largest multiplier of a step.
        resolution: Grid of the multipliers.
        held_out: Share of the calibration images that the search does not see, in [0, 1).
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
        held_out: float = 0.0,
        incremental: bool = True,
        cache_gb: float = 2.0,
    ) -> None:
        built = build(OBJECTIVES, objective, "JointSearch.objective")
        self._reads_loss, self._reads_labels = built.reads_loss, built.reads_labels
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
        if not 0.0 <= held_out < 1.0:
            raise ConfigError(f"JointSearch.held_out = {held_out!r}: must be in [0, 1)")
        self.objective, self.optimizer = dict(objective), optimizer
        self.max_iters, self.max_evals = max_iters, max_evals
        self.space = {
            "group": group,
            "scale": scale,
            "bounds": tuple(bounds),
            "resolution": resolution,
        }
        self.held_out, self.incremental, self.cache_gb = held_out, incremental, cache_gb
        self.report: SearchReport | None = None  # of the last run

    @property
    def reads_loss(self) -> bool:
        """Where the objective does."""
        return self._reads_loss

    @property
    def reads_labels(self) -> bool:
        """Where the objective does."""
        return self._reads_labels

    @property
    def judged_by(self) -> Mapping[str, Any]:
        """What it minimises."""
        return self.objective

    def run(self, context: CalibrationContext) -> None:
        """Change the steps of the model's quantizers."""
        space = SearchSpace(context.model, **self.space)  # type: ignore[arg-type]
        header = {
            "step": "JointSearch",
            "objective": self.objective,
            "space": self.space,
            "start": model_digest(context.model, ranges=True),
        }
        total = len(context.data.paths)
        seen = range(total - int(total * self.held_out))
        with self._loss(context, space, seen, header, LOG_NAME) as loss:
            search = _Search(self, context, space, loss)
            with contextlib.closing(search), contextlib.suppress(_BudgetSpentError):
                OPTIMIZERS[self.optimizer](search, np.zeros(len(space)), self.max_iters)
            point, self.report = search.best_point, search.report()
        if len(seen) < total:
            rest = range(len(seen), total)
            with self._loss(context, space, rest, header, HELD_OUT_LOG_NAME) as loss:
                point, self.report = _confirm(point, self.report, loss)
        space.apply(point)
        print_log(f"JointSearch: {self.report}", logger="current")
        if is_main_process():
            plot_search(search.losses, context.store.folder.parent / "joint_search.png")

    def _loss(
        self,
        context: CalibrationContext,
        space: SearchSpace,
        images: range,
        header: Mapping[str, Any],
        log_name: str,
    ) -> LoggedLoss:
        """The loss on some of the images."""
        header = {**header, "images": [images.start, images.stop]}
        return LoggedLoss(
            space,
            SearchLog(context.store.folder / log_name, header),
            lambda: LossEvaluator(
                context, self.objective, self.incremental, self.cache_gb, positions=images
            ),
        )


def _confirm(point: Point, report: SearchReport, loss: LoggedLoss) -> tuple[Point, SearchReport]:
    """Take back what held-out images do not confirm."""
    found = confirmed(point, loss)
    start = (0.0,) * len(point)
    return found, replace(
        report,
        evaluations=report.evaluations + len(loss.log.values),
        seconds=report.seconds + loss.log.seconds,
        held_out=(loss(start), loss(point), loss(found)),
        taken_back=sum(a != b for a, b in zip(point, found, strict=True)),
    )


class _BudgetSpentError(Exception):
    """Ends an optimizer from within the function that it minimises."""


class _Search:
    """The function that the optimizer minimises, with all that is around it."""

    def __init__(
        self, step: JointSearch, context: CalibrationContext, space: SearchSpace, loss: LoggedLoss
    ) -> None:
        self._space, self._loss, self._max_evals = space, loss, step.max_evals
        self._seen: dict[Point, float] = {}
        self._reported = time.monotonic()
        self.losses: list[float] = []
        self.best_point = space.rounded([0.0] * len(space))
        self.best_loss = math.inf
        self._done = False
        total = step.max_evals or step.max_iters * len(space) * _EXPECTED_PER_LINE
        self._progress = context.track(self._ticks(), "joint search", total)

    def __call__(self, x: np.ndarray) -> float:
        """Loss at ``x``, very large where it is not finite."""
        point = self._space.rounded(x)
        if point not in self._seen:
            if self._max_evals is not None and len(self.losses) >= self._max_evals:
                raise _BudgetSpentError
            next(self._progress)
            self._note(point, self._loss(point))
        return min(self._seen[point], _WORST)

    def close(self) -> None:
        """End the progress report."""
        self._done = True
        next(self._progress, None)

    def report(self) -> SearchReport:
        """What the search came to.

        Raises:
            NumericalError: No loss was finite.
        """
        if not math.isfinite(self.best_loss):
            raise NumericalError(
                "JointSearch: the loss is not finite at any point; start from better ranges"
            )
        seconds = self._loss.log.seconds
        return SearchReport(
            len(self._space), len(self.losses), seconds, self.losses[0], self.best_loss
        )

    def _note(self, point: Point, loss: float) -> None:
        self._seen[point] = loss
        self.losses.append(loss)
        if loss < self.best_loss:
            self.best_point, self.best_loss = point, loss
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
