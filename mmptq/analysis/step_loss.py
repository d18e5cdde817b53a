"""The loss as a function of a few quantization steps."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmptq.algorithms.lapq.search_space import Variable
from mmptq.engine import CalibrationContext, LossEvaluator
from mmptq.engine.storage.measured import Measured
from mmptq.errors import ConfigError
from mmptq.models import model_digest


class StepLoss:
    """Loss of the model with some steps multiplied, all others as they are.

    Args:
        context: With a model whose quantizers have ranges: multiplier 1.
        steps: Which ones; :class:`~mmptq.algorithms.lapq.search_space.SearchSpace` finds them.
        objective: Config of a class registered in ``OBJECTIVES``.
        log: File name of the log, in the stages' folder.
        cache_gb: Memory budget of the loss evaluation, in GiB.
    """

    def __init__(
        self,
        context: CalibrationContext,
        steps: Sequence[Variable],
        objective: Mapping[str, Any],
        log: str,
        cache_gb: float = 2.0,
    ) -> None:
        self.steps = list(steps)
        self._make_evaluator = lambda: LossEvaluator(context, objective, cache_gb=cache_gb)
        self._evaluator: LossEvaluator | None = None
        header = {
            "steps": [step.name for step in steps],
            "objective": dict(objective),
            "start": model_digest(context.model, ranges=True),
        }
        self._measured = Measured(context.store.folder / log, header, self._compute)

    def __call__(self, multipliers: Sequence[float]) -> float:
        """The loss with each step at its multiplier; NaN where an output is not finite."""
        return self._measured(multipliers)

    def close(self) -> None:
        """Set the steps back and close the log."""
        for step in self.steps:
            step.set(1.0)
        self._measured.close()

    def _compute(self, multipliers: Sequence[float]) -> float:
        for step, multiplier in zip(self.steps, multipliers, strict=True):
            step.set(multiplier)
        if self._evaluator is None:  # not before it is needed: the log may hold every value
            self._evaluator = self._make_evaluator()
        return self._evaluator()


def mean_step(step: Variable) -> float:
    """The step at multiplier 1; the mean over channels where there are several."""
    return float(np.mean([float(start.double().mean()) for start in step.start]))


def fitting_names(names: Sequence[str], pattern: str) -> list[str]:
    """Those of ``names`` that fit a shell-style pattern.

    Raises:
        ConfigError: None fits.
    """
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not found:
        some = ", ".join(names[:6])
        raise ConfigError(
            f"no step's name fits {pattern!r}; there are {len(names)}, such as {some}"
        )
    return found


def choose_steps(steps: Sequence[Variable], pattern: str, limit: int | None) -> list[Variable]:
    """Steps whose name fits a shell-style pattern.

    Args:
        steps: All, in the order of the forward pass.
        pattern: Such as ``'backbone.*.act'``.
        limit: At most so many, spread evenly over those that fit; ``None`` for all.

    Raises:
        ConfigError: None fits.
    """
    names = set(fitting_names([step.name for step in steps], pattern))
    found = [step for step in steps if step.name in names]
    if limit is None or len(found) <= limit:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, limit).round().astype(int)]


def choose_pair(
    steps: Sequence[Variable], patterns: Sequence[str] | None
) -> tuple[Variable, Variable]:
    """Two steps, in the order of the forward pass.

    Args:
        steps: All.
        patterns: One for each; the first that fits is taken. Without, the first two activations
            among those with the fewest bits, neighbours as in LAPQ's Fig. 1.

    Raises:
        ConfigError: There are no two such steps.
    """
    if patterns is not None:
        pair = [choose_steps(steps, pattern, None)[0] for pattern in patterns]
    else:
        acts = [step for step in steps if step.name.endswith(".act")] or list(steps)
        fewest = min(_num_bits(step) for step in acts)
        pair = [step for step in acts if _num_bits(step) == fewest][:2]
    names = [step.name for step in pair]
    if len(set(names)) != 2:
        raise ConfigError(f"a surface needs two different steps, found {', '.join(names)}")
    first, second = sorted(pair, key=lambda step: [s.name for s in steps].index(step.name))
    return first, second


def _num_bits(step: Variable) -> float:
    return step.quantizers[0].scheme.num_bits
