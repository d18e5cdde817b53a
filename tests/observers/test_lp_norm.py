import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmptq.errors import ConfigError
from mmptq.observers import LpNormObserver, MinMaxObserver, TensorStatistics, WeightStatistics
from mmptq.ops import QuantScheme, fake_quantize, range_to_params

SIGNED = {bits: QuantScheme(bits, symmetric=True, signed=True) for bits in (2, 2.6, 3, 4, 8)}
UNSIGNED = {bits: QuantScheme(bits, symmetric=True, signed=False) for bits in (2, 3.4, 4, 8)}
AFFINE = {bits: QuantScheme(bits, symmetric=False, signed=False) for bits in (1, 2, 3.4, 4, 8)}


def observe(x):
    stats = TensorStatistics()
    stats.update(x, image=0)
    return stats


def true_error(x, low, high, scheme, p):
    """Of the real quantizer: ``(C, N)`` values with ``(C,)`` ranges, or any with one range."""
    scale, zero_point = range_to_params(low, high, scheme)
    axis = 0 if low.dim() else None
    error = (fake_quantize(x, scale, zero_point, *scheme.bounds, ch_axis=axis) - x).abs().pow(p)
    return error.flatten(1).mean(1) if low.dim() else error.mean()


def best_of_dense_grid(x, low, high, scheme, p, count=400):
    """Least error over clips from 1/count of the whole range to all of it, both ends together."""
    errors = [
        true_error(x, low * s, high * s, scheme, p) for s in torch.linspace(0, 1, count + 1)[1:]
    ]
    return torch.stack(errors).min(0).values


def sample(kind, count=30_000):
    x = torch.randn(count, generator=torch.Generator().manual_seed(0))
    return {
        "gauss": x,
        "heavy": x**3,
        "relu": x.relu(),
        "relu6": (4 * x).clamp(0, 6),
        "negative": -x.abs(),
        "swish": x * torch.sigmoid(2 * x),
    }[kind]


@pytest.mark.parametrize("p", [1.0, 2.0, 2.5, 4.0])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["gauss", "heavy"])
def test_signed_clip_against_dense_grid(kind, bits, p):
    x, scheme = sample(kind), SIGNED[bits]
    stats = observe(x)
    found = true_error(x, *LpNormObserver(p).compute_range(stats, scheme), scheme, p)
    assert found <= 1.005 * best_of_dense_grid(x, stats.low, stats.high, scheme, p)


@pytest.mark.parametrize("p", [2.0, 3.0])
@pytest.mark.parametrize("scheme", [*UNSIGNED.values(), *AFFINE.values()], ids=str)
@pytest.mark.parametrize("kind", ["relu", "relu6"])
def test_one_sided_clip_against_dense_grid(kind, scheme, p):
    x = sample(kind)
    stats = observe(x)
    found = true_error(x, *LpNormObserver(p).compute_range(stats, scheme), scheme, p)
    assert found <= 1.005 * best_of_dense_grid(x, stats.low, stats.high, scheme, p)


@pytest.mark.parametrize("scheme", AFFINE.values(), ids=str)
@pytest.mark.parametrize("kind", ["gauss", "swish", "heavy", "negative"])
def test_affine_clips_against_a_grid_over_both(kind, scheme):
    x = sample(kind, 4000)
    stats = observe(x)
    low, high = LpNormObserver(2.0).compute_range(stats, scheme)
    found = true_error(x, low, high, scheme, 2.0)
    steps = torch.linspace(0.0, 1.0, 41)
    lows, highs = torch.meshgrid(stats.low * steps, stats.high * steps, indexing="ij")
    least = true_error(
        x.expand(lows.numel(), -1), lows.flatten(), highs.flatten(), scheme, 2.0
    ).min()
    assert found <= 1.02 * least


@pytest.mark.parametrize("ch_axis", [None, 0])
@pytest.mark.parametrize("scheme", [SIGNED[2], SIGNED[2.6], SIGNED[4], AFFINE[3.4]], ids=str)
def test_weights_against_dense_grid(scheme, ch_axis):
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(12, 576, generator=generator) * torch.logspace(-3, 1, 12)[:, None]
    stats = WeightStatistics(weight, ch_axis)
    found = LpNormObserver(2.0).compute_range(stats, scheme)
    assert found[0].shape == stats.low.shape
    least = best_of_dense_grid(weight, stats.low, stats.high, scheme, 2.0)
    assert bool((true_error(weight, *found, scheme, 2.0) <= 1.01 * least).all())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=30),
    st.sampled_from([*SIGNED.values(), *AFFINE.values()]),
    st.sampled_from([0.5, 1.0, 2.0, 4.0]),
)
def test_never_worse_than_the_whole_range(numbers, scheme, p):
    x = torch.tensor(numbers)
    observer = LpNormObserver(p)
    for stats in (observe(x), WeightStatistics(x, None)):
        low, high = observer.compute_range(stats, scheme)
        whole = MinMaxObserver().compute_range(stats, scheme)
        ours, theirs = (
            float(stats.lp_error(low[None], high[None], scheme, p)[0])
            for low, high in ((low, high), whole)
        )
        assert ours <= theirs * (1 + 1e-6)


def test_higher_powers_clip_less():
    stats = observe(sample("heavy"))
    highs = [LpNormObserver(p).compute_range(stats, SIGNED[4])[1] for p in (1.0, 2.0, 3.0, 4.0)]
    assert highs == sorted(highs)


def test_an_outlier_is_clipped_where_that_pays():
    x = torch.cat([sample("gauss"), torch.tensor([1e6])])
    low, high = LpNormObserver(0.5).compute_range(observe(x), SIGNED[8])
    assert 2.0 < float(high) < 10.0
    # The mean squared error of the outlier alone outweighs all others, so p = 2 must keep it.
    low, high = LpNormObserver(2.0).compute_range(observe(x), SIGNED[8])
    assert float(high) == pytest.approx(1e6, rel=0.01)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_scale_does_not_matter(factor):
    x = sample("heavy")
    plain = LpNormObserver(4.0).compute_range(observe(x), SIGNED[4])
    scaled = LpNormObserver(4.0).compute_range(observe(x * factor), SIGNED[4])
    assert float(scaled[1] / factor) == pytest.approx(float(plain[1]), rel=0.02)


@pytest.mark.parametrize("value", [0.0, 3.7, -3.7])
@pytest.mark.parametrize("scheme", [SIGNED[2], UNSIGNED[4], AFFINE[4]], ids=str)
def test_constant_tensors(value, scheme):
    x = torch.full((50,), value)
    low, high = LpNormObserver().compute_range(observe(x), scheme)
    assert bool(torch.isfinite(low) & torch.isfinite(high))
    if value >= 0 or scheme.signed or not scheme.symmetric:
        assert float(true_error(x, low, high, scheme, 2.0)) < 1e-3 * value**2 + 1e-12


@pytest.mark.parametrize("p", [0, -1.0, float("inf"), float("nan"), "2", True])
def test_bad_power(p):
    with pytest.raises(ConfigError, match="LpNormObserver.p must be a positive number"):
        LpNormObserver(p)
