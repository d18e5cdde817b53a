import math

import numpy as np
import pytest
import torch

from mmptq.errors import ConfigError
from mmptq.observers import KLObserver, TensorStatistics, WeightStatistics
from mmptq.observers.kl import kl_divergence
from mmptq.ops import QuantScheme

SCHEMES = [
    QuantScheme(4, symmetric=True, signed=True),
    QuantScheme(3, symmetric=True, signed=False),
    QuantScheme(3, symmetric=False, signed=False),
    QuantScheme(2.5, symmetric=True, signed=True),
    QuantScheme(2.2, symmetric=True, signed=True),
    QuantScheme(2.2, symmetric=True, signed=False),
    QuantScheme(2.6, symmetric=False, signed=False),
]


def slow_divergence(counts, middles, low, high, scheme):
    """The definition, bin by bin."""
    levels = 2**scheme.num_bits - 1
    zero_point = 0
    if scheme.symmetric and scheme.signed:
        scale, quant_min = 2 * max(abs(low), abs(high)) / levels, -(2 ** (scheme.num_bits - 1))
    elif scheme.symmetric:
        scale, quant_min = high / levels, 0
    else:
        scale, quant_min = (high - low) / levels, 0
        share, fraction = -low / (high - low), scheme.num_bits % 1
        whole = [2 ** (int(scheme.num_bits) + i) - 1 for i in (0, 1)]
        below, above = (round(share * n) - share * n for n in whole)
        zero_point = share * levels + (1 - fraction) * below + fraction * above
        zero_point = min(max(zero_point, 0.0), levels)
    bottom, top = quant_min - zero_point, quant_min - zero_point + levels
    inside = [i for i, m in enumerate(middles) if low <= m <= high]
    p = [counts[i] for i in inside]
    kept = list(p)
    p[0] += sum(c for i, c in enumerate(counts) if i < inside[0])
    p[-1] += sum(c for i, c in enumerate(counts) if i > inside[-1])
    codes = [min(max(round(middles[i] / scale), bottom), top) for i in inside]
    q = [0.0] * len(p)
    for code in set(codes):
        bins = [i for i, c in enumerate(codes) if c == code]
        occupied = [i for i in bins if p[i] > 0]
        for i in occupied:
            q[i] = sum(kept[j] for j in bins) / len(occupied)
    if not sum(q):
        return math.inf
    divergence = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0:
            a, b = a / sum(p), max(b / sum(q), 1e-10)
            divergence += a * math.log(a / b)
    return divergence


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("share", [1.0, 0.61, 0.33])
def test_against_a_slow_reference(scheme, share):
    rng = np.random.RandomState(0)
    counts = rng.poisson(3.0, 120).astype(float) * (rng.rand(120) > 0.2)
    middles = (np.arange(120) + 0.5 - 60) / 60 * 2.0
    low, high = np.float32(-1.7 * share), np.float32(1.93 * share)
    if not scheme.signed and scheme.symmetric:
        low = np.float32(0.0)
    ours = kl_divergence(
        torch.from_numpy(counts),
        torch.from_numpy(middles),
        torch.tensor(low),
        torch.tensor(high),
        scheme,
    )
    expected = slow_divergence(counts, middles, float(low), float(high), scheme)
    assert float(ours) == pytest.approx(expected, rel=1e-6)


def observe(x):
    stats = TensorStatistics()
    stats.update(x, image=0)
    return stats


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_picks_the_best_candidate(scheme):
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) ** 3
    if scheme.symmetric and not scheme.signed:
        x = x.relu()
    stats = observe(x)
    observer = KLObserver(num_bins=128, num_candidates=16)
    low, high = observer.compute_range(stats, scheme)
    bound = torch.maximum(-stats.low, stats.high).double()
    counts = stats.histogram(256, bound).numpy()
    middles = (np.arange(256) + 0.5 - 128) / 128 * float(bound)
    sides = 2 if scheme.symmetric and scheme.signed else 1
    shares = np.linspace(1.0, 2**scheme.num_bits / (128 * sides), 16)
    ranges = [(float(stats.low) * s, float(stats.high) * s) for s in shares]
    divergences = [slow_divergence(counts, middles, a, b, scheme) for a, b in ranges]
    best = ranges[int(np.argmin(divergences))]
    assert (float(low), float(high)) == pytest.approx(best, rel=1e-5)


def test_clips_a_heavy_tail_at_8_bits():
    x = torch.randn(300_000, generator=torch.Generator().manual_seed(0))
    x = torch.cat([x, torch.tensor([60.0, -45.0])])
    low, high = KLObserver().compute_range(observe(x), QuantScheme(8, True, True))
    assert 2.5 < float(high) < 20.0


def test_weights_agree_with_the_same_values_as_an_activation():
    x = torch.randn(2, 40_000, generator=torch.Generator().manual_seed(0))
    x[1] = x[1] ** 3
    observer, scheme = KLObserver(num_bins=256, num_candidates=32), SCHEMES[0]
    low, high = observer.compute_range(WeightStatistics(x, 0), scheme)
    for i in range(2):
        one = observer.compute_range(observe(x[i]), scheme)
        assert float(high[i]) == pytest.approx(float(one[1]), rel=0.15)
        assert low[i].dtype == high[i].dtype == torch.float32


@pytest.mark.parametrize("scheme", [*SCHEMES, QuantScheme(16, True, True)], ids=str)
@pytest.mark.parametrize("value", [0.0, 3.7, 1e-30, 1e30])
def test_constant_tensors(scheme, value):
    low, high = KLObserver(num_candidates=8).compute_range(
        observe(torch.full((20,), value)), scheme
    )
    assert 0.0 <= float(low) <= float(high) <= value * (1 + 1e-6)
    if value:
        assert float(high) > 0.0


@pytest.mark.parametrize(
    ("kwargs", "key"),
    [
        ({"num_bins": 10}, "num_bins"),
        ({"num_bins": 2e3}, "num_bins"),
        ({"num_candidates": 1}, "num_candidates"),
    ],
)
def test_bad_arguments(kwargs, key):
    with pytest.raises(ConfigError, match=f"KLObserver.{key} must be a whole number"):
        KLObserver(**kwargs)
