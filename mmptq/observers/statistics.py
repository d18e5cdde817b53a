"""What observers know about a tensor: collected in one pass, whatever observers read it later.

An activation is seen piece by piece and kept as :class:`TensorStatistics`; a weight is at hand
whole and gives exact :class:`~mmptq.observers.weight_statistics.WeightStatistics`. Both answer the
questions of :class:`Statistics`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mmptq.errors import CalibrationDataError, ConfigError, NumericalError
from mmptq.observers.density import PiecewiseDensity, QuantGrid
from mmptq.observers.octave_histogram import OctaveHistogram
from mmptq.ops import QuantScheme, range_to_params

_COARSE_PER_OCTAVE = 64  # resolution of the range search far below the maximum


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

    def std(self) -> Tensor:
        """Standard deviation around the mean (of the population)."""
        return self.abs_moment(2.0, self.mean()).sqrt()


def quant_grid(low: Tensor, high: Tensor, scheme: QuantScheme) -> QuantGrid:
    """The levels that each range gives, ``low``'s shape."""
    scale, zero_point = range_to_params(low, high, scheme)
    quant_min, quant_max = scheme.bounds
    bottom, top = quant_min - zero_point, quant_max - zero_point
    return QuantGrid(scale.double(), bottom.double(), top.double())


class TensorStatistics(Statistics):
    """Streaming statistics of one activation tensor, in bounded memory.

    Extremes and counts are exact and the histogram's bins fixed, so neither the order of the images
    nor their distribution over processes changes a bit of the result.

    Args:
        bins_per_octave: Resolution of the histogram, a power of two in [64, 4096]: bins to a factor
            of two in magnitude. 1024 resolves the range like 2048 equal bins a side at its top and
            far better near zero; one tensor then takes about 0.2 MB a side.

    Raises:
        ConfigError: ``bins_per_octave`` is something else.
    """

    def __init__(self, bins_per_octave: int = 1024) -> None:
        if bins_per_octave not in (64, 128, 256, 512, 1024, 2048, 4096):
            raise ConfigError(
                f"bins_per_octave must be a power of two from 64 to 4096, got {bins_per_octave!r}"
            )
        self.count = 0
        self.zeros = 0
        self._images: dict[int, tuple[float, float]] = {}
        self._bins = OctaveHistogram(bins_per_octave)
        self._fine: PiecewiseDensity | None = None
        self._coarse: PiecewiseDensity | None = None

    def update(self, x: Tensor, image: int) -> None:
        """Take in one tensor (any shape and floating dtype; an empty one changes nothing).

        Args:
            x: Values; float64 is rounded to float32.
            image: Index of the calibration image they belong to; several tensors may share one.

        Raises:
            NumericalError: ``x`` holds NaN or Inf. Nothing has been taken in then.
        """
        if not x.numel():
            return
        values = _flat(x.detach().float())
        low, high = (float(v) for v in torch.aminmax(values))
        if not (math.isfinite(low) and math.isfinite(high)):
            nans, infs = int(values.isnan().sum()), int(values.isinf().sum())
            raise NumericalError(f"{nans} NaN and {infs} Inf among {values.numel()} values")
        self.zeros += self._bins.update(values, low, high)
        self.count += values.numel()
        self._widen(image, low, high)
        self._fine = self._coarse = None

    def merge(self, other: "TensorStatistics") -> None:
        """Take in what ``other`` saw; the result is what one pass over both would have given.

        Raises:
            ConfigError: The two have different ``bins_per_octave``.
        """
        if other._bins.bins_per_octave != self._bins.bins_per_octave:
            raise ConfigError(
                f"bins_per_octave must agree to merge statistics: {self._bins.bins_per_octave} "
                f"and {other._bins.bins_per_octave}"
            )
        self.count += other.count
        self.zeros += other.zeros
        self._bins.merge(other._bins)
        for image, (low, high) in other._images.items():
            self._widen(image, low, high)
        self._fine = self._coarse = None

    def _widen(self, image: int, low: float, high: float) -> None:
        old_low, old_high = self._images.get(image, (low, high))
        # + 0.0 turns -0.0 into 0.0: which of the two min and max return depends on the order.
        self._images[image] = (min(low, old_low) + 0.0, max(high, old_high) + 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and ints; equal for equal sets of values."""
        images = sorted(self._images)
        ranges = [self._images[i] for i in images]
        return {
            "count": self.count,
            "zeros": self.zeros,
            "images": torch.tensor(images, dtype=torch.int64),
            "image_ranges": torch.tensor(ranges, dtype=torch.float32).reshape(-1, 2),
            "bins": self._bins.counts.clone(),
            "first_octave": self._bins.first_octave,
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "TensorStatistics":
        """Inverse of :meth:`state_dict`."""
        stats = cls(bins_per_octave=int(state["bins"].shape[2]))
        stats.count, stats.zeros = int(state["count"]), int(state["zeros"])
        stats._bins.counts = state["bins"].clone()
        stats._bins.first_octave = int(state["first_octave"])
        ranges = state["image_ranges"].tolist()
        for image, (low, high) in zip(state["images"].tolist(), ranges, strict=True):
            stats._images[image] = (low, high)
        return stats

    @property
    @override
    def low(self) -> Tensor:
        return self.image_ranges()[0].amin()

    @property
    @override
    def high(self) -> Tensor:
        return self.image_ranges()[1].amax()

    @override
    def image_ranges(self) -> tuple[Tensor, Tensor]:
        if not self._images:
            raise CalibrationDataError(
                "a quantized tensor saw no value during calibration; leave its layer in float, "
                "or calibrate on images that reach it"
            )
        ranges = torch.tensor([self._images[i] for i in sorted(self._images)])
        return ranges[:, 0], ranges[:, 1]

    @property
    @override
    def num_values(self) -> int:
        return self.count

    @override
    def mean(self) -> Tensor:
        return _scalar(self._density().mean())

    @override
    def abs_moment(
        self, order: float, center: Tensor | float = 0.0, skip_zeros: bool = False
    ) -> Tensor:
        return _scalar(self._density().abs_moment(order, float(center), skip_zeros))

    @override
    def quantile(self, q: float) -> Tensor:
        if q in (0.0, 1.0):
            return self.low if q == 0.0 else self.high
        return torch.tensor(self._density().quantile(q)).clamp(self.low, self.high)

    @override
    def lp_error(self, low: Tensor, high: Tensor, scheme: QuantScheme, p: float) -> Tensor:
        if self._coarse is None:
            self._coarse = self._make_density(_COARSE_PER_OCTAVE)
        return self._coarse.lp_error(quant_grid(low, high, scheme), p)

    @override
    def histogram(self, num_bins: int, bound: Tensor) -> Tensor:
        return self._density().histogram(num_bins, -float(bound), float(bound))

    def _density(self) -> PiecewiseDensity:
        if self._fine is None:
            self._fine = self._make_density(None)
        return self._fine

    def _make_density(self, coarse_per_octave: int | None) -> PiecewiseDensity:
        low, high = float(self.low), float(self.high)
        edges, counts = self._bins.bins(coarse_per_octave)
        return PiecewiseDensity.from_bins(edges, counts, low, high, self.zeros)


def _flat(x: Tensor) -> Tensor:
    """One dimension, without a copy where the memory allows it: the order is of no matter."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    return x.reshape(-1)


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
