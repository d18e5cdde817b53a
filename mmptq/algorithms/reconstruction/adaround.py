"""AdaRound: learned rounding, layer by layer."""

from mmptq.algorithms.reconstruction.rounding import RoundingReconstruction
from mmptq.registry import STEPS


@STEPS.register_module()
class AdaRound(RoundingReconstruction):
    """Learns the rounding of weights layer by layer (Nagel et al. 2020).

    A layer reads what the layers before it give with quantized weights and float activations, and
    is compared with the float model's behind its activation function (asymmetric reconstruction,
    eq. 25). Activations are quantized afterwards, by the ranges that they have.

    Args:
        preset: ``'published'`` or ``'fast'``.
        **common: Those of :class:`RoundingReconstruction`.
    """

    granularity = "layer"
    activations = False
