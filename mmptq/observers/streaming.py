"""Statistics of an activation, of which one tensor after another passes by."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self, override

from mmptq.errors import CalibrationDataError, ConfigError, NumericalError
from mmptq.observers.density import PiecewiseDensity
from mmptq.observers.octave_histogram import OctaveHistogram
from mmptq.observers.statistics import Statistics, quant_grid
from mmptq.ops import QuantScheme

_COARSE_PER_OCTAVE = 64  # resolution of the range search far below the maximum


class StreamingStatistics(Statistics):
    """Statistics in bounded memory: counts, the extremes of each image, and a histogram.

    Extremes and counts are exact and the histogram's bins fixed, so neither the order of the images
    nor their distribution over processes changes a bit of the result.

    Attributes:
        count: Values (in each channel).
    """

    def __init__(self) -> None:
        self.count = 0
        self._images: dict[int, Tensor] = {}  # low and high, stacked

    def update(self, x: Tensor, image: int) -> None:
        """Take in one tensor (any floating dtype; an empty one changes nothing).

        Args:
            x: Values; float64 is rounded to float32.
            image: Index of the calibration image they belong to; several tensors may share one.

        Raises:
            NumericalError: ``x`` holds NaN or Inf. Nothing has been taken in then.
        """
        if not x.numel():
            return
        values = x.detach().float()
        extremes = self._extremes(values)
        if not bool(extremes.isfinite().all()):
            nans, infs = int(values.isnan().sum()), int(values.isinf().sum())
            raise NumericalError(f"{nans} NaN and {infs} Inf among {values.numel()} values")
        self._take(values, extremes)
        self._widen(image, extremes.cpu())

    def merge(self, other: Self) -> None:
        """Take in what ``other`` saw; the result is what one pass over both would have given.

        Raises:
            ConfigError: The two are of different resolution.
        """
        self._merge_bins(other)
        self.count += other.count
        for image, extremes in other._images.items():
            self._widen(image, extremes)

    @abstractmethod
    def _extremes(self, values: Tensor) -> Tensor:
        """Least and largest value, ``(2,)`` or ``(2, C)``; NaN where there is one."""

    @abstractmethod
    def _take(self, values: Tensor, extremes: Tensor) -> None:
        """Count finite values."""

    @abstractmethod
    def _merge_bins(self, other: Self) -> None:
        """Add the histogram of ``other``."""

    def _widen(self, image: int, extremes: Tensor) -> None:
        old = self._images.get(image, extremes)
        low, high = torch.minimum(extremes[0], old[0]), torch.maximum(extremes[1], old[1])
        # + 0.0 turns -0.0 into 0.0: which of the two min and max return depends on the order.
        self._images[image] = torch.stack([low, high]) + 0.0

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and ints; equal for equal sets of values."""
        images = sorted(self._images)
        ranges = [self._images[i] for i in images]
        return {
            "count": self.count,
            "images": torch.tensor(images, dtype=torch.int64),
            "image_ranges": torch.stack(ranges) if ranges else torch.zeros(0, 2),
        }

    def _load_images(self, state: Mapping[str, Any]) -> None:
        self.count = int(state["count"])
        self._images = dict(zip(state["images"].tolist(), state["image_ranges"], strict=True))

    @property
    @override
    def low(self) -> Tensor:
        return self.image_ranges()[0].amin(0)

    @property
    @override
    def high(self) -> Tensor:
        return self.image_ranges()[1].amax(0)

    @override
    def image_ranges(self) -> tuple[Tensor, Tensor]:
        if not self._images:
            raise CalibrationDataError(
                "a quantized tensor saw no value during calibration; leave its layer in float, "
                "or calibrate on images that reach it"
            )
        ranges = torch.stack([self._images[i] for i in sorted(self._images)], dim=1)
        return ranges[0], ranges[1]


class TensorStatistics(StreamingStatistics):
    """Streaming statistics of one activation tensor as a whole.

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
        super().__init__()
        self.zeros = 0
        self._bins = OctaveHistogram(bins_per_octave)
        self._densities: dict[int | None, PiecewiseDensity] = {}

    @override
    def _extremes(self, values: Tensor) -> Tensor:
        return torch.stack(torch.aminmax(_flat(values)))

    @override
    def _take(self, values: Tensor, extremes: Tensor) -> None:
        low, high = extremes.tolist()
        self.zeros += self._bins.update(_flat(values), low, high)
        self.count += values.numel()
        self._densities.clear()

    @override
    def _merge_bins(self, other: Self) -> None:
        if other._bins.bins_per_octave != self._bins.bins_per_octave:
            raise ConfigError(
                f"bins_per_octave must agree to merge statistics: {self._bins.bins_per_octave} "
                f"and {other._bins.bins_per_octave}"
            )
        self.zeros += other.zeros
        self._bins.merge(other._bins)
        self._densities.clear()

    @override
    def state_dict(self) -> dict[str, Any]:
        bins = {"bins": self._bins.counts.clone(), "first_octave": self._bins.first_octave}
        return {**super().state_dict(), **bins, "zeros": self.zeros}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`state_dict`."""
        stats = cls(bins_per_octave=int(state["bins"].shape[2]))
        stats._load_images(state)
        stats.zeros = int(state["zeros"])
        stats._bins.counts = state["bins"].clone()
        stats._bins.first_octave = int(state["first_octave"])
        return stats

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
    def level_error(self, levels: Tensor, p: float) -> Tensor:
        return self._density(_COARSE_PER_OCTAVE).level_error(levels, p)

    @override
    def lp_error(self, low: Tensor, high: Tensor, scheme: QuantScheme, p: float) -> Tensor:
        return self._density(_COARSE_PER_OCTAVE).lp_error(quant_grid(low, high, scheme), p)

    @override
    def histogram(self, num_bins: int, bound: Tensor) -> Tensor:
        return self._density().histogram(num_bins, -float(bound), float(bound))

    def _density(self, coarse_per_octave: int | None = None) -> PiecewiseDensity:
        if coarse_per_octave not in self._densities:
            low, high = float(self.low), float(self.high)
            edges, counts = self._bins.bins(coarse_per_octave)
            density = PiecewiseDensity.from_bins(edges, counts, low, high, self.zeros)
            self._densities[coarse_per_octave] = density
        return self._densities[coarse_per_octave]


def _flat(x: Tensor) -> Tensor:
    """One dimension, without a copy where the memory allows it: the order is of no matter."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    return x.reshape(-1)


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
