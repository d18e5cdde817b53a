"""A histogram of 32-bit floats whose bins are fixed in advance, so that two of them add exactly.

Each octave ``[2^e, 2^(e+1))`` of magnitude is cut into ``bins_per_octave`` equal bins, for either
sign. A bin is therefore the leading bits of the value's own bit pattern (IEEE 754): finding it is a
shift, with no rounding and no range to choose. The result depends on the multiset of values alone,
never on their order or on how they were shared out between processes, and one outlier of 1e6 costs
the values around 1 none of their resolution, which it would with equally wide bins.
"""

import math

import torch
from torch import Tensor

MANTISSA_BITS = 23
EXPONENT_BIAS = 127
_MAX_WINDOW = 32  # octaves below a tensor's maximum that are counted in one go
_CHUNK = 1 << 18  # values at a time: the temporaries stay in the processor's cache
_TINY = torch.finfo(torch.float32).tiny


class OctaveHistogram:
    """Counts of non-zero finite float32 values, ``bins_per_octave`` bins to a factor of two.

    Subnormal values (magnitude below 1.2e-38) count as zeros: no float32 step resolves them.

    Args:
        bins_per_octave: A power of two in [2, 4096]. The relative width of a bin is at most its
            reciprocal.

    Attributes:
        counts: ``(2, octaves, bins_per_octave)`` int64 on the CPU; row 0 counts positive values and
            row 1 negative ones. Only the octaves between the smallest and the largest magnitude
            seen are held: usually fewer than 32, never more than 254.
        first_octave: Biased exponent of ``counts[:, 0]``.
    """

    def __init__(self, bins_per_octave: int) -> None:
        self.bins_per_octave = bins_per_octave
        self.counts = torch.zeros(2, 0, bins_per_octave, dtype=torch.int64)
        self.first_octave = 0

    def update(self, x: Tensor, low: float, high: float) -> int:
        """Count the values of ``x``.

        Args:
            x: Finite contiguous float32 values ``(N,)`` on any device.
            low: Their minimum.
            high: Their maximum.

        Returns:
            How many values were zero (or subnormal); they are in no bin.
        """
        magnitude = max(-low, high)
        if magnitude < _TINY:
            return x.numel()
        top = math.frexp(magnitude)[1] - 1 + EXPONENT_BIAS
        # Few values seldom reach far below their maximum; a narrow window makes small tensors
        # cheap.
        window = min(_MAX_WINDOW, x.numel().bit_length() + 6)
        base = max(top - window + 1, 1)
        sides = 1 if low >= 0.0 else 2
        per_side = (top - base + 1) * self.bins_per_octave + 1
        total = torch.zeros(sides, per_side, dtype=torch.int64, device=x.device)
        zeros = 0
        for chunk in x.split(_CHUNK):
            index = self._bin_index(chunk, base, per_side if sides == 2 else None)
            counted = torch.bincount(index, minlength=sides * per_side).view(sides, per_side)
            total += counted
            below = int(counted[:, 0].sum())
            if below:
                zeros += self._count_below_window(chunk, base, below)
        counts = total.new_zeros(2, per_side - 1)
        counts[:sides] = total[:, 1:]
        self._add(counts.view(2, -1, self.bins_per_octave).cpu(), base)
        return zeros

    def _bin_index(self, x: Tensor, base: int, second_side: int | None) -> Tensor:
        """Bin of each value: 0 below octave ``base``, then upwards.

        ``second_side`` is where the run of bins of negative values starts; None: there are none.
        """
        shift = MANTISSA_BITS - (self.bins_per_octave.bit_length() - 1)
        offset = base * self.bins_per_octave - 1
        index = x.view(torch.int32) >> shift
        if second_side is None:
            return index.sub_(offset).clamp_(min=0)
        side = (index >> 31).bitwise_and_(second_side)  # the sign bit, spread by the shift
        index.bitwise_and_((1 << (31 - shift)) - 1).sub_(offset)
        return index.clamp_(min=0).add_(side)

    def _count_below_window(self, x: Tensor, base: int, below: int) -> int:
        """Bin the ``below`` values smaller than octave ``base``; return how many are zeros."""
        zeros = x.numel() - int(torch.count_nonzero(x))
        if zeros == below:
            return zeros
        magnitude = x.abs()
        start = 2.0 ** (base - EXPONENT_BIAS)
        rest = x[(magnitude < start) & (magnitude >= _TINY)]
        if rest.numel():
            low, high = (float(v) for v in torch.aminmax(rest))
            self.update(rest, low, high)
        return below - rest.numel()

    def merge(self, other: "OctaveHistogram") -> None:
        """Add the counts of ``other``, which must have as many bins per octave."""
        self._add(other.counts, other.first_octave)

    def _add(self, counts: Tensor, first: int) -> None:
        """Add ``(2, octaves, bins)`` counts from octave ``first`` on; empty outer octaves go."""
        used = counts.sum(dim=(0, 2)).nonzero().flatten()
        if not used.numel():
            return
        start, stop = int(used[0]), int(used[-1]) + 1
        counts, first = counts[:, start:stop], first + start
        if not self.counts.shape[1]:
            self.counts, self.first_octave = counts.clone(), first
            return
        old, old_first = self.counts, self.first_octave
        new_first = min(first, old_first)
        stop = max(first + counts.shape[1], old_first + old.shape[1])
        if new_first < old_first or stop > old_first + old.shape[1]:
            self.counts = old.new_zeros(2, stop - new_first, self.bins_per_octave)
            self.counts[:, old_first - new_first :][:, : old.shape[1]] = old
            self.first_octave = new_first
        self.counts[:, first - new_first :][:, : counts.shape[1]] += counts

    def bins(self, coarse_per_octave: int | None = None) -> tuple[Tensor, Tensor]:
        """Bins of the real line in ascending order.

        Args:
            coarse_per_octave: Merge neighbouring bins: the top octave keeps all of its bins, the
                next half as many, ... but none fewer than ``coarse_per_octave``. That is as fine as
                equally wide bins near the maximum, and never coarser than this relative width.

        Returns:
            Edges ``(E + 1,)`` and counts ``(E,)``, both float64. The gap around zero is one empty
            bin.
        """
        octaves = self.counts.shape[1]
        if not octaves:
            return torch.zeros(2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        edges, positive, negative = [], [], []
        for i in range(octaves):
            keep = kept_bins(self.bins_per_octave, octaves - 1 - i, coarse_per_octave)
            edges.append(octave_edges(self.first_octave + i, keep)[:-1])
            grouped = self.counts[:, i].view(2, keep, -1).sum(dim=2)
            positive.append(grouped[0])
            negative.append(grouped[1])
        edges.append(octave_edges(self.first_octave + octaves - 1, 1)[-1:])
        edge, up, down = torch.cat(edges), torch.cat(positive), torch.cat(negative)
        gap = up.new_zeros(1)
        return torch.cat([-edge.flip(0), edge]), torch.cat([down.flip(0), gap, up]).double()


def kept_bins(bins: int, below: int, coarse_per_octave: int | None) -> int:
    """How many of an octave's ``bins`` stay once neighbours are merged.

    Args:
        bins: A power of two.
        below: How many octaves lie above it.
        coarse_per_octave: The fewest; ``None``: nothing is merged.
    """
    if coarse_per_octave is None:
        return bins
    return min(bins, max(coarse_per_octave, bins >> below))


def octave_edges(octave: int, bins: int) -> Tensor:
    """The ``bins + 1`` edges of equal bins in the octave with this biased exponent, float64."""
    steps = 1.0 + torch.arange(bins + 1, dtype=torch.float64) / bins
    return steps * 2.0 ** (octave - EXPONENT_BIAS)
