"""Adapters: all that knows the insides of a detector family."""

from mmptq.adapters.base import Adapter, find_adapter
from mmptq.adapters.classifier import ClassifierAdapter
from mmptq.adapters.detector import DetectorAdapter
from mmptq.adapters.probe import Probe
from mmptq.adapters.recommender import RecommenderAdapter
from mmptq.adapters.two_stage import TwoStageAdapter

__all__ = [
    "Adapter",
    "ClassifierAdapter",
    "DetectorAdapter",
    "Probe",
    "RecommenderAdapter",
    "TwoStageAdapter",
    "find_adapter",
]
