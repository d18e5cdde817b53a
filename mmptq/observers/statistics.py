"""What observers know about a tensor: collected in one pass, whatever observers read it later.

An activation is seen piece by piece and kept as
:class:`~mmptq.observers.streaming.TensorStatistics`, or channel by channel as
:class:`~mmptq.observers.channel_statistics.ChannelStatistics`; a weight is at hand whole and gives
exact :class:`~mmptq.observers.weight_statistics.WeightStatistics`. All answer the questions of
:class:`Statistics`.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from mmptq.observers.density import QuantGrid
from mmptq.ops import QuantScheme, range_to_params


class Statistics(ABC):
    """The questions an observer may ask about a tensor.

    Answers have one entry per channel, ``(C,)``, or are 0-dim for a tensor as a whole. Ranges and
    quantiles are float32, means and errors float64: an activation's on the CPU, a weight's on its
    device.
    """

    @property
    @abstractmethod
    def low(self) -> Tensor:
        """Smallest value."""

    @property
    @abstractmethod
    def high(self) -> Tensor:
        """Largest value."""

    @abstractmethod
    def image_ranges(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest value in each image, by ascending image index.

        Both ``(I,)`` or ``(I, C)``. A weight is one image.
        """

    @property
    @abstractmethod
    def num_values(self) -> int:
        """Number of values (in each channel)."""

    @abstractmethod
    def mean(self) -> Tensor:
        """Mean of all values."""

    @abstractmethod
    def abs_moment(
        self, order: float, center: Tensor | float = 0.0, skip_zeros: bool = False
    ) -> Tensor:
        """Mean of ``|x - center| ** order``, over the non-zero values only with ``skip_zeros``."""

    @abstractmethod
    def quantile(self, q: float) -> Tensor:
        """The value below which a share ``q`` (0 to 1) of the values lies."""

    @abstractmethod
    def lp_error(self, low: Tensor, high: Tensor, scheme: QuantScheme, p: float) -> Tensor:
        """Mean of ``|Q(x) - x| ** p`` for candidate ranges.

        Args:
            low: Lower clips, ``(K,)`` or ``(K, C)``: candidates first.
            high: Upper clips, same shape.
            scheme: Turns each range into a quantizer, as :func:`mmptq.ops.range_to_params` does.
            p: Any positive power. The result underflows or overflows float64 where the p-th power
                of the values does.

        Returns:
            Errors of the shape of ``low``.
        """

    @abstractmethod
    def histogram(self, num_bins: int, bound: Tensor) -> Tensor:
        """Counts of the non-zero values in equal bins of ``[-bound, bound]``.

        Args:
            num_bins: Number of bins.
            bound: Positive half-width, 0-dim or ``(C,)``, that covers all values.

        Returns:
            ``(num_bins,)`` or ``(C, num_bins)``, may hold fractions.
        """

    def level_error(self, levels: Tensor, p: float) -> Tensor:
        """Mean of ``|Q(x) - x| ** p`` where each value gets the nearest of some levels.

        Args:
            levels: ``(K, L)``: candidates first, ascending within each.
            p: Any positive power.

        Returns:
            ``(K,)``.

        Raises:
            NotImplementedError: Not of an activation as a whole.
        """
        raise NotImplementedError(f"{type(self).__name__} knows evenly spaced levels only")

    def std(self) -> Tensor:
        """Standard deviation around the mean (of the population)."""
        return self.abs_moment(2.0, self.mean()).sqrt()


def quant_grid(low: Tensor, high: Tensor, scheme: QuantScheme) -> QuantGrid:
    """The levels that each range gives, ``low``'s shape."""
    scale, zero_point = range_to_params(low, high, scheme)
    quant_min, quant_max = scheme.bounds
    bottom, top = quant_min - zero_point, quant_max - zero_point
    return QuantGrid(scale.double(), bottom.double(), top.double())
