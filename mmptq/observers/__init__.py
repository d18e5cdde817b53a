"""Observers turn the statistics of a tensor into the range that its quantizer covers."""

from mmptq.observers.aciq import ACIQObserver
from mmptq.observers.base import Observer
from mmptq.observers.kl import KLObserver
from mmptq.observers.lp_norm import LpNormObserver
from mmptq.observers.minmax import MinMaxObserver
from mmptq.observers.moving_average import MovingAverageObserver
from mmptq.observers.percentile import PercentileObserver
from mmptq.observers.statistics import Statistics, TensorStatistics
from mmptq.observers.weight_statistics import WeightStatistics

__all__ = [
    "ACIQObserver",
    "KLObserver",
    "LpNormObserver",
    "MinMaxObserver",
    "MovingAverageObserver",
    "Observer",
    "PercentileObserver",
    "Statistics",
    "TensorStatistics",
    "WeightStatistics",
]
