"""Weights rounded so that each layer's output, not the weight itself, stays close to the float."""

from mmptq.algorithms.gptq.gptq import GPTQ

__all__ = ["GPTQ"]
