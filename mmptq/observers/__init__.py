"""Observers turn the statistics of a tensor into the range that its quantizer covers."""

from mmptq.observers.aciq import ACIQObserver
from mmptq.observers.base import Observer
from mmptq.observers.channel_statistics import ChannelStatistics
from mmptq.observers.kl import KLObserver
from mmptq.observers.lp_norm import LpNormObserver
from mmptq.observers.minmax import MinMaxObserver
from mmptq.observers.moving_average import MovingAverageObserver
from mmptq.observers.percentile import PercentileObserver
from mmptq.observers.statistics import Statistics
from mmptq.observers.streaming import StreamingStatistics, TensorStatistics
from mmptq.observers.weight_statistics import WeightStatistics

__all__ = [
    "ACIQObserver",
    "ChannelStatistics",
    "KLObserver",
    "LpNormObserver",
    "MinMaxObserver",
    "MovingAverageObserver",
    "Observer",
    "PercentileObserver",
    "Statistics",
    "StreamingStatistics",
    "TensorStatistics",
    "WeightStatistics",
]
