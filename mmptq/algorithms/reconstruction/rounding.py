"""Learned rounding of weights: what AdaRound, BRECQ and QDrop share."""

import math
from typing import Any

from torch import Tensor

from mmptq.algorithms.reconstruction.base import Reconstruction
from mmptq.algorithms.reconstruction.forms import learned_steps, step_group, weight_quantizers
from mmptq.engine.units.reconstruction import Group, LoopSettings, Policy
from mmptq.engine.units.unit_problem import TrainedForm, UnitProblem
from mmptq.engine.units.units import Unit
from mmptq.models import QuantModel
from mmptq.quantizers import AdaptiveRoundingQuantizer
from mmptq.quantizers.adaptive_rounding import linear_beta, settled_share


class RoundingPolicy(Policy):
    r"""Pushes the roundings towards up or down, ever harder: AdaRound's regularizer.

    .. math:: \lambda \sum 1 - |2 h(V) - 1|^\beta

    with :math:`\beta` falling linearly after a warm-up without it (Nagel et al. 2020, eq. 24).

    Args:
        quantizers: Those that learn.
        iters: Of the unit.
        weight: :math:`\lambda`.
        warmup: Share of the iterations without it.
        beta: First and last :math:`\beta`.
        decay: Whether learning rates fall by a cosine (else they stay).
    """

    def __init__(
        self,
        quantizers: list[AdaptiveRoundingQuantizer],
        iters: int,
        weight: float,
        warmup: float,
        beta: tuple[float, float],
        decay: bool,
    ) -> None:
        self._quantizers, self._iters, self._weight = quantizers, iters, weight
        self._warmup, self._beta, self._decay = warmup * iters, beta, decay
        self.beta: float | None = None

    def lr_factor(self, iteration: int) -> float:
        """Cosine to zero, or 1."""
        return 0.5 + 0.5 * math.cos(math.pi * iteration / self._iters) if self._decay else 1.0

    def penalty(self, iteration: int) -> Tensor | None:
        """The regularizer, ``None`` during warm-up."""
        if iteration < self._warmup or not self._quantizers:
            return None
        rest = max(self._iters - self._warmup, 1.0)
        self.beta = linear_beta((iteration - self._warmup) / rest, *self._beta)
        total = sum(q.regularizer(self.beta) for q in self._quantizers)
        assert isinstance(total, Tensor)
        return self._weight * total

    def describe(self) -> dict[str, Any]:
        """The exponent and how many roundings are decided."""
        sizes = [q.v.numel() for q in self._quantizers]
        settled = sum(settled_share(q.v) * n for q, n in zip(self._quantizers, sizes, strict=True))
        return {"beta": self.beta, "settled": settled / max(sum(sizes), 1)}


class RoundingReconstruction(Reconstruction):
    """Learns for each weight of a unit whether it is rounded up or down.

    Args:
        lr_rounding: Adam's learning rate of the roundings V.
        lr_step: Learning rate of the activations' steps, as a share of the step.
        rounding_weight: Weight of the regularizer.
        warmup: Share of the iterations before the regularizer sets in.
        beta: The regularizer's first and last exponent.
        common: See :class:`Reconstruction`.
    """

    learn_steps = False
    drop_prob = 0.0

    def __init__(
        self,
        preset: str = "published",
        lr_rounding: float | None = None,
        lr_step: float | None = None,
        rounding_weight: float = 0.01,
        warmup: float = 0.2,
        beta: tuple[float, float] = (20.0, 2.0),
        **common: Any,
    ) -> None:
        super().__init__(preset=preset, **common)
        # A rounding has to travel a distance of about 2 to change its mind and settle.
        self.fast = preset == "fast"
        self.lr_rounding = lr_rounding or (3e-2 if self.fast else 1e-3)
        self.lr_step = lr_step or (2e-3 if self.fast else 4e-4)
        self.rounding_weight, self.warmup, self.beta = rounding_weight, warmup, tuple(beta)
        self.check("rounding_weight", rounding_weight, rounding_weight >= 0, "0 or more")
        self.check("warmup", warmup, 0 <= warmup < 1, "in [0, 1)")
        self.check("beta", beta, len(self.beta) == 2 and min(self.beta) > 0, "two positive numbers")
        for name in ("lr_rounding", "lr_step"):
            self.check(name, getattr(self, name), getattr(self, name) > 0, "positive")

    def trained_form(self, model: QuantModel, unit: Unit) -> TrainedForm:
        """Learned rounding of weights, and activations through trainable quantizers if on."""
        weights = {
            name: AdaptiveRoundingQuantizer(quantizer, weight)
            for name, quantizer, weight in weight_quantizers(model, unit)
        }
        acts = learned_steps(model, unit, self.drop_prob) if self.learn_steps else {}
        return TrainedForm(model, unit, weights, acts)

    def groups(self, form: TrainedForm) -> list[Group]:
        """Roundings and steps."""
        return [
            Group([q.v for q in rounding(form)], self.lr_rounding),
            step_group(form, self.lr_step),
        ]

    def policy(self, problem: UnitProblem, probe: list[int]) -> Policy:
        """The regularizer."""
        return RoundingPolicy(
            rounding(problem.form),
            self.iters,
            self.rounding_weight,
            self.warmup,
            (self.beta[0], self.beta[1]),
            decay=False,
        )

    def loop_settings(self) -> LoopSettings:
        """With dropping."""
        return LoopSettings(**{**vars(super().loop_settings()), "drop_prob": self.drop_prob})


def rounding(form: TrainedForm) -> list[AdaptiveRoundingQuantizer]:
    """Those of a form that learn a rounding."""
    return [q for q in form.weights.values() if isinstance(q, AdaptiveRoundingQuantizer)]
