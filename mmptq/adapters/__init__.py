"""Adapters: all that knows the insides of a detector family."""

from mmptq.adapters.base import Adapter, find_adapter
from mmptq.adapters.classifier import ClassifierAdapter
from mmptq.adapters.single_stage import SingleStageAdapter
from mmptq.adapters.two_stage import TwoStageAdapter

__all__ = [
    "Adapter",
    "ClassifierAdapter",
    "SingleStageAdapter",
    "TwoStageAdapter",
    "find_adapter",
]
