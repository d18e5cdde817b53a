"""QDrop: learned rounding and steps with randomly dropped activation quantization."""

from typing import Any

from mmptq.algorithms.reconstruction.rounding import RoundingReconstruction
from mmptq.registry import STEPS


@STEPS.register_module()
class QDrop(RoundingReconstruction):
    """Block by block, with activations quantized at random (Wei et al. 2022).

    While a block is adjusted, each element of its input is the float model's with probability
    ``drop_prob``, and each element that its layers read is left unquantized with the same
    probability. Roundings of weights and steps of activations are learned together.

    Args:
        drop_prob: Probability of dropping the quantization of an element.
        **common: Those of :class:`RoundingReconstruction`.
    """

    learn_steps = True

    def __init__(self, drop_prob: float = 0.5, **common: Any) -> None:
        super().__init__(**common)
        self.drop_prob = drop_prob
        self.check("drop_prob", drop_prob, 0 <= drop_prob < 1, "in [0, 1)")
