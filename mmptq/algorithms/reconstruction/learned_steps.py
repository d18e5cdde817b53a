"""Learned steps of activations, with weights as they are."""

from typing import Any

from mmptq.algorithms.reconstruction.base import Reconstruction
from mmptq.algorithms.reconstruction.forms import learned_steps, step_group
from mmptq.engine.units.reconstruction import Group
from mmptq.engine.units.unit_problem import TrainedForm
from mmptq.engine.units.units import Unit
from mmptq.models import QuantModel
from mmptq.registry import STEPS


@STEPS.register_module()
class LearnedSteps(Reconstruction):
    """Learns the activations' steps block by block (BRECQ, Li et al. 2021, section 3.3; LSQ).

    BRECQ's second phase: after the weights, which stay as they are. Outputs are compared with those
    of the float model.

    Args:
        lr_step: Adam's learning rate of the steps, as a share of the step.
        common: See :class:`Reconstruction`.
    """

    replaces_weights = False
    needs_float_weights = False

    def __init__(self, lr_step: float = 1e-3, **common: Any) -> None:
        super().__init__(**common)
        self.lr_step = lr_step
        self.check("lr_step", lr_step, lr_step > 0, "positive")

    def trained_form(self, model: QuantModel, unit: Unit) -> TrainedForm:
        """Only activations."""
        return TrainedForm(model, unit, {}, learned_steps(model, unit))

    def groups(self, form: TrainedForm) -> list[Group]:
        """The steps."""
        return [step_group(form, self.lr_step)]
