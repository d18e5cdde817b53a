"""Bit-shrinking: the bit-width falls as fast as the loss stays smooth."""

import math
from typing import Any

from mmptq.algorithms.reconstruction.base import Reconstruction
from mmptq.algorithms.reconstruction.final_rounding import FinalRounding
from mmptq.algorithms.reconstruction.forms import learned_steps, step_group, weight_quantizers
from mmptq.algorithms.reconstruction.shrinking import (
    LR_SCHEDULES,
    MODES,
    ShrinkPolicy,
    ShrinkSettings,
)
from mmptq.engine.units.reconstruction import Group, LoopSettings, Policy
from mmptq.engine.units.unit_problem import TrainedForm, UnitProblem
from mmptq.engine.units.units import Unit
from mmptq.models import QuantModel
from mmptq.ops import MAX_BITS
from mmptq.quantizers import LearnedStepQuantizer
from mmptq.registry import STEPS


@STEPS.register_module()
class BitShrinking(Reconstruction):
    """Block by block, with a bit-width that shrinks continuously to its target.

    A reading of "Bit-Shrinking: Limiting Instantaneous Sharpness for Improving Post-training
    Quantization" (CVPR 2023), whose method section was not at hand:
    ``docs/methods/bit_shrinking.md`` says what is the paper's and what is ours. Weights are
    adjusted through the straight-through estimator, all steps are learned, and each shrink of the
    bit-width may raise the loss by a limited amount only (the instant sharpness), which the
    iterations after it bring down again.

    Args:
        mode: ``'shrink'``, or the ablations ``'direct'`` and ``'progressive'`` (whole bits, even).
        b0: Bit-width to start from.
        tau: Limit of the instant sharpness, relative to the loss at the target at the start.
        shrink_share: Share of the iterations within which the target is reached; the rest
            polishes at the target.
        stops: Largest number of shrinks.
        forced_share: Share of the stops, at the end, in which an even walk down is enforced.
        lr_weight: Adam's learning rate of a weight, as a share of its tensor's root mean square.
        lr_step: Learning rate of the steps, as a share of the step.
        lr_schedule: ``'hold'`` or ``'restart'``, see :class:`ShrinkSettings`.
        drop_prob: Probability of dropping the activations' quantization, as in QDrop; off by
            default, since every reconstruction loss measured is less without it.
        adaptive_rounding: Share of the iterations, at the end, in which the rounding of weights is
            learned as in AdaRound, with weights held; 0 for none.
        common: See :class:`Reconstruction`.
    """

    def __init__(
        self,
        mode: str = "shrink",
        b0: float = 8.0,
        tau: float = 0.3,
        shrink_share: float = 0.2,
        stops: int = 3,
        forced_share: float = 0.5,
        lr_weight: float | None = None,
        lr_step: float | None = None,
        lr_schedule: str = "hold",
        drop_prob: float = 0.0,
        adaptive_rounding: float = 0.0,
        preset: str = "published",
        **common: Any,
    ) -> None:
        super().__init__(preset=preset, **common)
        fast = preset == "fast"
        self.mode, self.b0, self.tau, self.drop_prob = mode, b0, tau, drop_prob
        self.adaptive_rounding = adaptive_rounding
        # Rounding begins after this many iterations.
        self.shrink_iters = round(self.iters * (1.0 - adaptive_rounding))
        self.lr_rounding = 3e-2 if fast else 1e-3
        self.shrink_share, self.stops = shrink_share, stops
        self.forced_share, self.lr_schedule = forced_share, lr_schedule
        self.lr_weight = lr_weight or (1e-2 if fast else 2e-3)
        self.lr_step = lr_step or (2e-3 if fast else 4e-4)
        self.check("mode", mode, mode in MODES, f"one of {', '.join(MODES)}")
        known = lr_schedule in LR_SCHEDULES
        self.check("lr_schedule", lr_schedule, known, f"one of {', '.join(LR_SCHEDULES)}")
        self.check("stops", stops, isinstance(stops, int) and stops >= 1, "a whole number from 1")
        least = {"shrink": stops, "progressive": math.ceil(b0) + 1}.get(mode, 1)
        self.check("adaptive_rounding", adaptive_rounding, 0 <= adaptive_rounding < 1, "in [0, 1)")
        enough = self.shrink_iters >= least
        self.check("iters", self.iters, enough, f"{least} or more for mode {mode!r}")
        self.check("b0", b0, 1 <= b0 <= MAX_BITS, f"in [1, {MAX_BITS:g}]")
        self.check("tau", tau, tau > 0, "positive")
        self.check("shrink_share", shrink_share, 0 < shrink_share <= 1, "in (0, 1]")
        self.check("forced_share", forced_share, 0 <= forced_share <= 1, "in [0, 1]")
        self.check("drop_prob", drop_prob, 0 <= drop_prob < 1, "in [0, 1)")
        for name in ("lr_weight", "lr_step"):
            self.check(name, getattr(self, name), getattr(self, name) > 0, "positive")

    def trained_form(self, model: QuantModel, unit: Unit) -> TrainedForm:
        """Learned steps throughout."""
        weights = {
            name: LearnedStepQuantizer(quantizer)
            for name, quantizer, _ in weight_quantizers(model, unit)
        }
        return TrainedForm(model, unit, weights, learned_steps(model, unit, self.drop_prob))

    def groups(self, form: TrainedForm) -> list[Group]:
        """Steps, and each weight at the scale of its tensor."""
        groups = [step_group(form, self.lr_step)]
        for name in form.weights:
            weight: Any = form.layers[name].weight
            size = float(weight.detach().square().mean().sqrt())
            groups.append(Group([weight], self.lr_weight * size))
        if self.adaptive_rounding:
            v = [
                q.prepare_rounding(form.layers[n].weight)
                for n, q in form.weights.items()
                if isinstance(q, LearnedStepQuantizer)
            ]
            groups.append(Group(v, self.lr_rounding))
        return groups

    def policy(self, problem: UnitProblem, probe: list[int]) -> Policy:
        """The shrinking, then learned rounding if asked for."""
        policy = ShrinkPolicy(problem, self.shrink_settings(), probe)
        if not self.adaptive_rounding:
            return policy
        return FinalRounding(policy, problem.form, self.shrink_iters, self.iters, 0.01)

    def shrink_settings(self) -> ShrinkSettings:
        """The schedule of a unit."""
        return ShrinkSettings(
            self.mode,
            self.b0,
            self.tau,
            self.shrink_iters,
            self.shrink_share,
            self.stops,
            self.forced_share,
            self.lr_schedule,
        )

    def loop_settings(self) -> LoopSettings:
        """With dropping."""
        return LoopSettings(**{**vars(super().loop_settings()), "drop_prob": self.drop_prob})
