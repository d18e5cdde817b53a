"""Histograms with fixed bins of many channels at once."""

import torch
from torch import Tensor

from mmptq.observers.octave_histogram import (
    EXPONENT_BIAS,
    MANTISSA_BITS,
    OctaveHistogram,
    octave_edges,
)

_CHUNK = 1 << 20  # values at a time


class ChannelHistogram(OctaveHistogram):
    """An :class:`OctaveHistogram` of each channel, all over the same octaves.

    Args:
        bins_per_octave: A power of two in [2, 4096].
        channels: How many there are.

    Attributes:
        counts: ``(channels, 2, octaves, bins_per_octave)`` int64 on the CPU, see
            :class:`OctaveHistogram`.
    """

    def __init__(self, bins_per_octave: int, channels: int) -> None:
        super().__init__(bins_per_octave)
        self.counts = torch.zeros(channels, 2, 0, bins_per_octave, dtype=torch.int64)

    def update_channels(self, x: Tensor) -> Tensor:
        """Count the values of ``x``.

        Args:
            x: Finite contiguous float32 values ``(C, N)`` on any device.

        Returns:
            How many values of each channel were zero (or subnormal), ``(C,)`` int64 on the CPU.
        """
        bins = self.bins_per_octave
        shift = MANTISSA_BITS - (bins.bit_length() - 1)
        magnitude = (x.view(torch.int32) & 0x7FFFFFFF) >> shift
        is_zero = magnitude < bins
        top = int(magnitude.amax()) // bins
        if top == 0:
            return torch.full((len(x),), x.shape[1], dtype=torch.int64)
        base = int(magnitude.masked_fill(is_zero, top * bins).amin()) // bins
        octaves = top - base + 1
        # Slot 0 of a channel is for zeros; then the bins of positive values, then of negative ones.
        slot = magnitude.sub_(base * bins - 1).add_((x < 0).int(), alpha=octaves * bins)
        slot.masked_fill_(is_zero, 0)
        width = 1 + 2 * octaves * bins
        rows = max(1, _CHUNK // x.shape[1])
        counted = torch.cat([_count_rows(part, width) for part in slot.split(rows)]).cpu()
        self._add(counted[:, 1:].reshape(len(x), 2, octaves, bins), base)
        return counted[:, 0]

    def channel_bins(
        self, octaves: int | None = None, coarse_per_octave: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bins of the real line in ascending order, of each channel.

        Args:
            octaves: How many octaves, of each channel those below its own maximum; ``None``: all.
            coarse_per_octave: As in :meth:`bins`.

        Returns:
            Edges ``(C, E + 1)`` and counts ``(C, E)``, both float64, and how many values ``(C,)``
            lie below these octaves. The gap around zero is one empty bin.
        """
        held = self.counts.shape[2]
        kept = held if octaves is None else min(octaves, held)
        top = torch.full((len(self.counts),), held - 1)
        if octaves is not None and held:
            used = self.counts.sum(dim=(1, 3)) > 0
            top -= used.flip(1).int().argmax(1)
        lowest = top - kept + 1
        index = lowest[:, None] + torch.arange(kept)
        shape = (len(self.counts), 2, kept, self.bins_per_octave)
        counts = self.counts.gather(2, index.clamp(min=0)[:, None, :, None].expand(shape))
        counts = counts * (index >= 0)[:, None, :, None]
        below = self.counts.sum(dim=(1, 2, 3)) - counts.sum(dim=(1, 2, 3))
        edges, sides = [torch.zeros(0)], [counts.new_zeros(len(counts), 2, 0)]
        for i in range(kept):
            keep = self.kept_bins(kept, i, coarse_per_octave)
            edges.append(octave_edges(i + EXPONENT_BIAS, keep)[:-1])
            sides.append(counts[:, :, i].unflatten(-1, (keep, -1)).sum(-1))
        edge = torch.cat([*edges, torch.tensor([2.0**kept])]).double()
        unit = 2.0 ** (lowest + self.first_octave - EXPONENT_BIAS).double()
        side = torch.cat(sides, dim=2).double()
        gap = side.new_zeros(len(side), 1)
        both = torch.cat([side[:, 1].flip(1), gap, side[:, 0]], dim=1)
        return torch.cat([-edge.flip(0), edge]) * unit[:, None], both, below


def _count_rows(slots: Tensor, width: int) -> Tensor:
    """How often each of ``width`` numbers is in each row, ``(R, width)``."""
    rows = torch.arange(len(slots), device=slots.device)[:, None] * width
    return torch.bincount((slots + rows).flatten(), minlength=len(slots) * width).view(-1, width)
