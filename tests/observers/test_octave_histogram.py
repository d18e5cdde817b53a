import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmptq.observers.octave_histogram import OctaveHistogram

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def filled(values: torch.Tensor, bins_per_octave: int = 64) -> tuple[OctaveHistogram, int]:
    histogram = OctaveHistogram(bins_per_octave)
    low, high = torch.aminmax(values)
    return histogram, histogram.update(values, float(low), float(high))


@settings(max_examples=200, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=60))
def test_every_value_is_counted_once_and_in_the_right_bin(numbers):
    x = torch.tensor(numbers, dtype=torch.float32)
    histogram, zeros = filled(x)
    normal = x[x.abs() >= torch.finfo(torch.float32).tiny]
    assert zeros == x.numel() - normal.numel()
    assert int(histogram.counts.sum()) == normal.numel()
    if not normal.numel():
        return
    edges, counts = histogram.bins()
    # Negative bins are closed at the top, not the bottom, so numpy counts their mirror image.
    positive = np.histogram(normal[normal > 0].double(), edges[edges > 0])[0]
    negative = np.histogram(-normal[normal < 0].double(), edges[edges > 0])[0][::-1]
    half = positive.size
    np.testing.assert_array_equal(counts[-half:], positive)
    np.testing.assert_array_equal(counts[:half], negative)
    assert counts[half] == 0


@pytest.mark.parametrize("kind", ["gauss", "relu", "wide"])
def test_against_numpy_over_several_chunks(kind):
    x = torch.randn(600_000, generator=torch.Generator().manual_seed(0))
    if kind == "relu":
        x = x.relu()
    if kind == "wide":  # spans far more octaves than one window
        x = x * torch.linspace(-100.0, 100.0, x.numel()).exp2()
    histogram, zeros = filled(x, 1024)
    assert zeros == int((x == 0).sum())
    edges, counts = histogram.bins()
    side = edges[edges > 0].numpy()
    np.testing.assert_array_equal(
        counts[-(side.size - 1) :], np.histogram(x[x > 0].double(), side)[0]
    )
    assert float(counts.sum()) == x.numel() - zeros


def test_bins_are_narrow_relative_to_their_values():
    histogram, _ = filled(torch.tensor([1e-30, 1.0, 3e30]), 1024)
    edges = histogram.bins()[0]
    positive = edges[edges > 0]
    assert float((positive.diff() / positive[:-1]).max()) <= 1 / 1024 + 1e-12


def test_coarse_bins_hold_the_same_counts():
    x = torch.randn(50_000, generator=torch.Generator().manual_seed(1))
    histogram, _ = filled(x, 1024)
    edges, counts = histogram.bins()
    coarse_edges, coarse = histogram.bins(64)
    assert coarse.numel() < counts.numel() / 4
    start = torch.searchsorted(edges, coarse_edges)  # coarse edges are edges
    assert torch.equal(edges[start], coarse_edges)
    cumulative = torch.cat([torch.zeros(1), counts.cumsum(0)])
    assert torch.equal(cumulative[start].diff(), coarse)
    # As fine as equal bins near the top, then no coarser than 1/64.
    top = coarse_edges[-1]
    assert float((coarse_edges[-1] - coarse_edges[-2]) / top) == pytest.approx(1 / 2048)


@settings(max_examples=100, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=40), st.integers(0, 40), st.randoms())
def test_order_and_partition_do_not_matter(numbers, cut, random):
    whole, _ = filled(torch.tensor(numbers, dtype=torch.float32))
    random.shuffle(numbers)
    parts = [p for p in (numbers[:cut], numbers[cut:]) if p]
    merged = OctaveHistogram(64)
    for part in parts:
        merged.merge(filled(torch.tensor(part, dtype=torch.float32))[0])
    assert torch.equal(merged.counts, whole.counts)
    assert merged.first_octave == whole.first_octave
