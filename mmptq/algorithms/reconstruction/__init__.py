"""The reconstruction family: units of the model are adjusted, one after another, to the float ones.

All run on one engine (:mod:`mmptq.engine`): units, capture, loop.
"""

from mmptq.algorithms.reconstruction.adaround import AdaRound
from mmptq.algorithms.reconstruction.base import Reconstruction
from mmptq.algorithms.reconstruction.bit_shrinking import BitShrinking
from mmptq.algorithms.reconstruction.brecq import BRECQ
from mmptq.algorithms.reconstruction.learned_steps import LearnedSteps
from mmptq.algorithms.reconstruction.qdrop import QDrop

__all__ = [
    "BRECQ",
    "AdaRound",
    "BitShrinking",
    "LearnedSteps",
    "QDrop",
    "Reconstruction",
]
