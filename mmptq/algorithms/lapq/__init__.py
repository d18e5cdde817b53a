"""Loss Aware Post-training Quantization (Nahshan et al. 2021), in steps."""

from mmptq.algorithms.lapq.interpolation import LpInterpolation
from mmptq.algorithms.lapq.joint_search import JointSearch
from mmptq.algorithms.lapq.random_ranges import RandomRanges

__all__ = ["JointSearch", "LpInterpolation", "RandomRanges"]
