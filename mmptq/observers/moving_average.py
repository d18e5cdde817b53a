"""A range that forgets single images."""

from torch import Tensor
from typing_extensions import override

from mmptq.observers.base import Observer, is_number, require
from mmptq.observers.statistics import Statistics
from mmptq.ops import QuantScheme
from mmptq.registry import OBSERVERS


@OBSERVERS.register_module()
class MovingAverageObserver(Observer):
    """Exponential moving average of each image's extremes (Jacob et al. 2018, section 3.1).

    ``r_0 = x_0; r_i = momentum * r_(i-1) + (1 - momentum) * x_i``, taken by image index, so the
    order in which the images were run, and on which process, does not matter. A weight is one
    image.

    Args:
        momentum: Weight of the past, in (0, 1).

    Raises:
        ConfigError: ``momentum`` is out of range.
    """

    def __init__(self, momentum: float = 0.9) -> None:
        ok = is_number(momentum) and 0.0 < momentum < 1.0
        require(ok, self, "momentum", momentum, "between 0 and 1 (both excluded), e.g. 0.9")
        self.momentum = float(momentum)

    @override
    def compute_range(self, stats: Statistics, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        lows, highs = stats.image_ranges()
        return self._average(lows), self._average(highs)

    def _average(self, values: Tensor) -> Tensor:
        running = values[0].double()
        for value in values[1:].double():
            running = self.momentum * running + (1.0 - self.momentum) * value
        return running.float()
