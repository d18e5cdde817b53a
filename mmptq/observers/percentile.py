"""A range that leaves out a fixed share of the values."""

from torch import Tensor
from typing_extensions import override

from mmptq.observers.base import Observer, is_number, require
from mmptq.observers.statistics import Statistics
from mmptq.ops import QuantScheme
from mmptq.registry import OBSERVERS


@OBSERVERS.register_module()
class PercentileObserver(Observer):
    """From the ``100 - percentile`` to the ``percentile`` percentile of all values, zeros included.

    Args:
        percentile: In (0, 100]; 100 is min-max. Values under 50 make no sense and are refused.

    Raises:
        ConfigError: ``percentile`` is out of range.
    """

    def __init__(self, percentile: float = 99.99) -> None:
        ok = is_number(percentile) and 50.0 < percentile <= 100.0
        require(ok, self, "percentile", percentile, "above 50 and at most 100, e.g. 99.99")
        self.percentile = float(percentile)

    @override
    def compute_range(self, stats: Statistics, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        share = self.percentile / 100.0
        return stats.quantile(1.0 - share), stats.quantile(share)
