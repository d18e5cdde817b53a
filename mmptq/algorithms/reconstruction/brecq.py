"""BRECQ: learned rounding, block by block."""

from mmptq.algorithms.reconstruction.rounding import RoundingReconstruction
from mmptq.registry import STEPS


@STEPS.register_module()
class BRECQ(RoundingReconstruction):
    """Learns the rounding of weights block by block (Li et al. 2021).

    Activations stay float meanwhile; the step ``LearnedSteps`` learns theirs afterwards. With
    ``fisher=True`` the loss is the paper's (eq. 10).

    Args:
        **common: Those of :class:`RoundingReconstruction`.
    """

    activations = False
