"""BRECQ: learned rounding, block by block."""

from collections.abc import Mapping
from typing import Any

from mmptq.algorithms.reconstruction.fisher import add_fisher_weights
from mmptq.algorithms.reconstruction.rounding import RoundingReconstruction
from mmptq.engine.context import CalibrationContext
from mmptq.engine.units.unit_data import UnitData
from mmptq.engine.units.units import Unit
from mmptq.registry import STEPS


@STEPS.register_module()
class BRECQ(RoundingReconstruction):
    """Learns the rounding of weights block by block (Li et al. 2021).

    Activations stay float meanwhile; the step ``LearnedSteps`` learns theirs afterwards.

    Args:
        fisher: Weigh each squared difference by the squared gradient of the task loss in the
            block's float output (the diagonal of the Fisher information, eq. 10); needs labels.
        **common: Those of :class:`RoundingReconstruction`.
    """

    activations = False

    def __init__(self, fisher: bool = False, **common: Any) -> None:
        super().__init__(**common)
        self.check("fisher", fisher, isinstance(fisher, bool), "True or False")
        self.fisher = fisher

    @property
    def reads_loss(self) -> bool:
        """For its gradients, if they are asked for; regions are then sampled as in training."""
        return self.fisher

    def add_weights(
        self, context: CalibrationContext, unit: Unit, data: UnitData, frozen: Mapping[int, Any]
    ) -> None:
        """Squared gradients, if asked for."""
        if self.fisher:
            add_fisher_weights(context, unit, data, frozen)
