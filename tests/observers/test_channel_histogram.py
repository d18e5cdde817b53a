"""Bins of many channels are those of each channel alone."""

import torch
from torch import Tensor

from mmptq.observers.channel_histogram import OCTAVES, ChannelHistogram
from mmptq.observers.octave_histogram import OctaveHistogram


def filled(*parts: Tensor) -> ChannelHistogram:
    histogram = ChannelHistogram(64, len(parts[0]))
    for part in parts:
        histogram.update(part)
    return histogram


def equal(a: ChannelHistogram, b: ChannelHistogram) -> bool:
    pairs = ((a.counts, b.counts), (a.top, b.top), (a.zeros, b.zeros))
    return all(torch.equal(x, y) for x, y in pairs)


def test_a_channel_alone() -> None:
    x = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    x *= torch.tensor([[1e-3], [1.0], [300.0]])
    edges, counts = filled(x).bins()
    for row, row_edges, row_counts in zip(x, edges, counts, strict=True):
        alone = OctaveHistogram(64)
        alone.update(row, float(row.min()), float(row.max()))
        wanted_edges, wanted = alone.bins()
        most = min(OCTAVES * 64, len(wanted) // 2)
        for end in (slice(-most, None), slice(None, most)):  # positive values, then negative ones
            assert torch.equal(row_counts[end], wanted[end])
        assert torch.equal(row_edges[-most:], wanted_edges[-most:])


def test_a_larger_maximum_makes_zeros_of_what_is_far_below() -> None:
    small, large = torch.full((1, 4), 3.0 * 2.0**-OCTAVES), torch.full((1, 2), 3.0)
    both = torch.cat([small, large], dim=1)
    for histogram in (filled(small, large), filled(large, small), filled(both)):
        assert histogram.zeros.tolist() == [4] and int(histogram.counts.sum()) == 2
    near = filled(small * 2, large)
    assert near.zeros.tolist() == [0] and int(near.counts.sum()) == 6


def test_merging_is_seeing_both() -> None:
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(4, 300, generator=generator) * scale for scale in (1e-6, 1.0, 40.0)]
    parts[1][2] = 0.0
    merged, other = filled(parts[2]), filled(parts[0], parts[1])
    kept = other.counts.clone()
    merged.merge(other)
    assert equal(merged, filled(*parts)) and torch.equal(other.counts, kept)


def test_channels_of_zeros_and_subnormal_numbers() -> None:
    x = torch.tensor([[0.0, -0.0, 1e-40], [1e-37, 0.0, -1e-37]])
    histogram = filled(x)
    assert histogram.zeros.tolist() == [3, 1]
    assert histogram.counts.sum(dim=(1, 2, 3)).tolist() == [0, 2]
    edges, counts = histogram.bins(8)
    used = counts[1].nonzero().flatten()
    assert bool((edges[1, used] <= 1e-37).all()) and bool((edges[1, used + 1] >= -1e-37).all())
