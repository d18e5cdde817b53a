"""Histograms with fixed bins of many channels at once."""

import torch
from torch import Tensor

from mmptq.observers.octave_histogram import (
    EXPONENT_BIAS,
    MANTISSA_BITS,
    kept_bins,
    octave_edges,
)

# Of each channel, below its largest magnitude: what is smaller is as good as zero at 16 bits.
OCTAVES = 16
_CHUNK = 1 << 20  # values at a time


class ChannelHistogram:
    """Counts of the values of each channel, by magnitude and sign.

    Bins are those of :class:`OctaveHistogram`. Each channel keeps the octaves next to its largest
    magnitude; smaller values count as zeros. They do so whenever they come: the largest magnitude
    only grows. So the result depends on the set of values alone, and takes the same memory for any.

    Args:
        bins_per_octave: A power of two in [2, 4096].
        channels: How many there are.

    Attributes:
        counts: ``(channels, 2, OCTAVES, bins_per_octave)`` int64 on the CPU, row 0 of positive
            values and row 1 of negative ones, the largest octave last.
        top: Biased exponent of each channel's last octave, ``(channels,)`` int64, 0 if all is zero.
        zeros: Values in no bin, ``(channels,)`` int64.
    """

    def __init__(self, bins_per_octave: int, channels: int) -> None:
        self.bins_per_octave = bins_per_octave
        self.counts = torch.zeros(channels, 2, OCTAVES, bins_per_octave, dtype=torch.int64)
        self.top = torch.zeros(channels, dtype=torch.int64)
        self.zeros = torch.zeros(channels, dtype=torch.int64)

    def update(self, x: Tensor) -> None:
        """Count finite contiguous float32 values ``(C, N)`` on any device."""
        rows = max(1, _CHUNK // x.shape[1])
        parts = [self._count(part) for part in x.split(rows)]
        top, zeros, counts = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        self._add(counts, top, zeros)

    def _count(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Top octaves, zeros and counts of some channels."""
        bins, held = self.bins_per_octave, OCTAVES * self.bins_per_octave
        shift = MANTISSA_BITS - (bins.bit_length() - 1)
        index = (x.view(torch.int32) & 0x7FFFFFFF) >> shift
        top = index.amax(dim=1) // bins
        # Slot 0 of a channel is for zeros; then the bins of positive values, then of negative ones.
        lowest = (top - OCTAVES + 1).clamp(min=1) * bins
        slot = index.sub_(lowest[:, None] - 1).clamp_(min=0)
        slot.add_((x < 0) & (slot > 0), alpha=held)
        width = 1 + 2 * held
        slot.add_(torch.arange(len(x), device=x.device, dtype=torch.int32)[:, None] * width)
        counted = torch.bincount(slot.flatten(), minlength=len(x) * width).view(len(x), width).cpu()
        counts = counted[:, 1:].reshape(-1, 2, OCTAVES, bins)
        # Where fewer octaves are normal numbers, the last one held is above the top.
        top = torch.where(top > 0, top.clamp(min=OCTAVES), 0).cpu().long()
        return top, counted[:, 0], counts

    def merge(self, other: "ChannelHistogram") -> None:
        """Add the counts of ``other``, which must have as many channels and bins per octave."""
        self._add(other.counts, other.top, other.zeros)

    def _add(self, counts: Tensor, top: Tensor, zeros: Tensor) -> None:
        """Add counts below the octaves ``top``."""
        new = torch.maximum(self.top, top)
        everything = self.zeros + zeros + _total(self.counts) + _total(counts)
        self.counts = _shifted(self.counts, new - self.top) + _shifted(counts, new - top)
        self.top, self.zeros = new, everything - _total(self.counts)

    def bins(self, coarse_per_octave: int | None = None) -> tuple[Tensor, Tensor]:
        """Bins of the real line in ascending order, of each channel.

        Args:
            coarse_per_octave: As in :meth:`OctaveHistogram.bins`.

        Returns:
            Edges ``(C, E + 1)`` and counts ``(C, E)``, both float64. The gap around zero is one
            empty bin.
        """
        edges, sides = [], []
        for i in range(OCTAVES):
            keep = kept_bins(self.bins_per_octave, OCTAVES - 1 - i, coarse_per_octave)
            edges.append(octave_edges(EXPONENT_BIAS - OCTAVES + 1 + i, keep)[:-1])
            sides.append(self.counts[:, :, i].unflatten(-1, (keep, -1)).sum(-1))
        edge = torch.cat([*edges, torch.tensor([2.0]).double()])
        side = torch.cat(sides, dim=2).double()
        gap = side.new_zeros(len(side), 1)
        both = torch.cat([side[:, 1].flip(1), gap, side[:, 0]], dim=1)
        unit = 2.0 ** (self.top - EXPONENT_BIAS).double()
        return torch.cat([-edge.flip(0), edge]) * unit[:, None], both


def _total(counts: Tensor) -> Tensor:
    return counts.sum(dim=(1, 2, 3))


def _shifted(counts: Tensor, octaves: Tensor) -> Tensor:
    """Counts ``(C, 2, O, B)`` moved down by ``octaves`` ``(C,)``; what falls out is gone."""
    if not bool(octaves.any()):
        return counts
    index = torch.arange(counts.shape[2]) + octaves[:, None]
    picked = index.clamp(max=counts.shape[2] - 1)[:, None, :, None].expand(counts.shape)
    return counts.gather(2, picked) * (index < counts.shape[2])[:, None, :, None]
