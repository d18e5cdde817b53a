"""Learned rounding in the last iterations of a unit whose weights and steps were learned."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmptq.algorithms.reconstruction.rounding import RoundingPolicy
from mmptq.engine.units.reconstruction import Policy, Row
from mmptq.engine.units.unit_problem import TrainedForm
from mmptq.quantizers import LearnedStepQuantizer


class FinalRounding(Policy):
    """Follows another policy, then holds the weights and learns how each is rounded.

    The weights no longer follow the straight-through estimator then: what is learned is up or down,
    as in AdaRound, from the weights and steps that were found. Learning rates are full again.

    Args:
        inner: The policy before; it reaches the target bit-width.
        form: Of the unit; its weight quantizers are prepared for it.
        start: Iteration at which rounding begins.
        iters: All iterations of the unit.
        weight: Of the regularizer.
    """

    def __init__(
        self, inner: Policy, form: TrainedForm, start: int, iters: int, weight: float
    ) -> None:
        self._inner, self._form, self._start = inner, form, start
        self._iters, self._weight = iters, weight
        self._rounding: RoundingPolicy | None = None

    def before(self, iteration: int) -> Row | None:
        """The inner policy's, or the beginning of rounding."""
        if iteration < self._start:
            return self._inner.before(iteration)
        if self._rounding is None:
            self._begin(keep=False)
            return {"event": "rounding"}
        return None

    def forgets(self) -> bool:
        """As the inner policy says; what rounding learns has no moments before it."""
        return self._rounding is None and self._inner.forgets()

    def lr_factor(self, iteration: int) -> float:
        """The inner policy's, then 1."""
        return self._inner.lr_factor(iteration) if self._rounding is None else 1.0

    def penalty(self, iteration: int) -> Tensor | None:
        """The regularizer, once rounding has begun."""
        if self._rounding is None:
            return self._inner.penalty(iteration)
        return self._rounding.penalty(iteration - self._start)

    def describe(self) -> Row:
        """Both policies' entries."""
        return {**self._inner.describe(), **(self._rounding.describe() if self._rounding else {})}

    def state_dict(self) -> dict[str, Any]:
        """Whether rounding has begun, and the inner policy's state."""
        return {"inner": self._inner.state_dict(), "rounding": self._rounding is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`; weights and roundings are in place already."""
        self._inner.load_state_dict(state["inner"])
        if state["rounding"]:
            self._begin(keep=True)

    def _begin(self, keep: bool) -> None:
        roundings = []
        for name, quantizer in self._form.weights.items():
            assert isinstance(quantizer, LearnedStepQuantizer)
            quantizer.start_rounding(self._form.layers[name].weight, keep)
            assert quantizer.rounding is not None
            roundings.append(quantizer.rounding)
        rest = self._iters - self._start
        self._rounding = RoundingPolicy(roundings, rest, self._weight, 0.2, (20.0, 2.0), False)
