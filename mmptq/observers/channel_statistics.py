"""Statistics of an activation channel by channel."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mmptq.observers.channel_density import ChannelDensity
from mmptq.observers.channel_histogram import ChannelHistogram
from mmptq.observers.statistics import quant_grid
from mmptq.observers.streaming import StreamingStatistics
from mmptq.ops import QuantScheme

BINS_PER_OCTAVE = 64
# Of the range search: octaves below a channel's maximum (the rest is as good as zero at 16 bits and
# less), and bins in each of them far down.
_SEARCHED_OCTAVES = 16
_COARSE_PER_OCTAVE = 8


class ChannelStatistics(StreamingStatistics):
    """Streaming statistics of each channel of one activation.

    A channel takes about 1 kB for each octave in which it has values: some 20 to 40 kB.

    Args:
        channels: How many there are.
        ch_axis: Where, counted from the end: -3 of ``(N, C, H, W)``.
    """

    _bins: ChannelHistogram

    def __init__(self, channels: int, ch_axis: int) -> None:
        super().__init__(ChannelHistogram(BINS_PER_OCTAVE, channels))
        self.channels, self.ch_axis = channels, ch_axis
        self.zeros = torch.zeros(channels, dtype=torch.int64)
        self._densities: dict[int | None, ChannelDensity] = {}

    @override
    def _extremes(self, values: Tensor) -> Tensor:
        return torch.stack(torch.aminmax(self._rows(values), dim=1))

    @override
    def _take(self, values: Tensor, extremes: Tensor) -> None:
        self.zeros = self.zeros + self._bins.update_channels(self._rows(values))
        self.count += values.numel() // self.channels
        self._densities.clear()

    def _rows(self, values: Tensor) -> Tensor:
        return values.movedim(self.ch_axis, 0).reshape(self.channels, -1)

    @override
    def merge(self, other: "ChannelStatistics") -> None:
        super().merge(other)
        self._densities.clear()

    @override
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "ch_axis": self.ch_axis}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "ChannelStatistics":
        """Inverse of :meth:`state_dict`."""
        stats = cls(len(state["zeros"]), int(state["ch_axis"]))
        stats.load_state_dict(state)
        return stats

    @property
    @override
    def num_values(self) -> int:
        return self.count

    @override
    def mean(self) -> Tensor:
        return self._density().mean()

    @override
    def abs_moment(
        self, order: float, center: Tensor | float = 0.0, skip_zeros: bool = False
    ) -> Tensor:
        return self._density().abs_moment(order, torch.as_tensor(center), skip_zeros)

    @override
    def quantile(self, q: float) -> Tensor:
        if q in (0.0, 1.0):
            return self.low if q == 0.0 else self.high
        return self._density().quantile(q).float().clamp(self.low, self.high)

    @override
    def lp_error(self, low: Tensor, high: Tensor, scheme: QuantScheme, p: float) -> Tensor:
        return self._density(_SEARCHED_OCTAVES).lp_error(quant_grid(low, high, scheme), p)

    @override
    def histogram(self, num_bins: int, bound: Tensor) -> Tensor:
        return self._density().histogram(num_bins, bound)

    def _density(self, octaves: int | None = None) -> ChannelDensity:
        if octaves not in self._densities:
            coarse = None if octaves is None else _COARSE_PER_OCTAVE
            edges, counts, below = self._bins.channel_bins(octaves, coarse)
            density = ChannelDensity(edges, counts, self.zeros + below, self.low, self.high)
            self._densities[octaves] = density
        return self._densities[octaves]
