"""The whole range."""

from torch import Tensor
from typing_extensions import override

from mmptq.observers.base import Observer
from mmptq.observers.statistics import Statistics
from mmptq.ops import QuantScheme
from mmptq.registry import OBSERVERS


@OBSERVERS.register_module()
class MinMaxObserver(Observer):
    """Smallest and largest value: nothing is clipped."""

    @override
    def compute_range(self, stats: Statistics, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        return stats.low, stats.high
