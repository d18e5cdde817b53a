"""Channels are made more alike before the ranges are set."""

from mmptq.algorithms.equalization.equalization import Equalization
from mmptq.algorithms.equalization.norm_reparametrization import NormReparametrization

__all__ = ["Equalization", "NormReparametrization"]
