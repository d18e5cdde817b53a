"""Each channel's answers are those of a tensor that is this channel alone."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmptq.errors import NumericalError
from mmptq.observers import (
    ACIQObserver,
    ChannelStatistics,
    KLObserver,
    LpNormObserver,
    MinMaxObserver,
    MovingAverageObserver,
    Observer,
    PercentileObserver,
    TensorStatistics,
    WeightStatistics,
)
from mmptq.ops import QuantScheme

AFFINE = QuantScheme(8, symmetric=False, signed=False)
SYMMETRIC = QuantScheme(4, symmetric=True, signed=True)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def channels(count: int = 20_000) -> Tensor:
    """``(7, count)`` of very different sizes and shapes."""
    x = torch.randn(7, count, generator=torch.Generator().manual_seed(0))
    x[1] = x[1].relu() * 90
    x[2] = torch.nn.functional.silu(x[2] * 0.02)
    x[3] = -x[3].abs() - 1e-3
    x[4] = x[4] ** 3 * 1e-4
    x[5] = 0.0
    x[6] = 1.5
    return x


def collect(rows: Tensor, images: int = 4) -> ChannelStatistics:
    stats = ChannelStatistics(len(rows), -3)
    for image, part in enumerate(rows.chunk(images, dim=1)):
        stats.update(part.reshape(1, len(rows), 5, -1), image)
    return stats


def alone(row: Tensor, images: int = 4) -> TensorStatistics:
    stats = TensorStatistics()
    for image, part in enumerate(row.chunk(images)):
        stats.update(part, image)
    return stats


def same(a: ChannelStatistics, b: ChannelStatistics) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return all(torch.equal(torch.as_tensor(left[k]), torch.as_tensor(right[k])) for k in left)


def test_counts_and_extremes_are_exact() -> None:
    x, stats = channels(), collect(channels())
    assert torch.equal(stats.low, x.amin(1)) and torch.equal(stats.high, x.amax(1))
    assert stats.num_values == x.shape[1]
    # The largest magnitude's octave and the 15 below it are kept.
    least = 2.0 ** (x.abs().amax(1).clamp(min=1e-30).log2().floor() - 15)
    assert torch.equal(stats.zeros, (x.abs() < least[:, None]).sum(1))
    lows, highs = stats.image_ranges()
    assert lows.shape == (4, 7)
    assert torch.equal(highs, torch.stack([p.amax(1) for p in x.chunk(4, dim=1)]))


def test_moments_and_quantiles() -> None:
    x, stats = channels(), collect(channels())
    x[x.abs() < x.abs().amax(1, keepdim=True) * 2.0**-15] = 0.0  # as good as
    exact = WeightStatistics(x, 0)
    size = x.abs().mean(1).double().clamp(min=1e-30)
    torch.testing.assert_close(stats.mean() / size, exact.mean() / size, rtol=0, atol=2e-3)
    for order, skip in itertools.product((1.0, 2.0), (False, True)):
        found, right = (s.abs_moment(order, 0.0, skip) for s in (stats, exact))
        torch.testing.assert_close(found, right, rtol=1e-2, atol=0)
    center = exact.mean()
    torch.testing.assert_close(
        stats.abs_moment(2.0, center), exact.abs_moment(2.0, center), rtol=2e-3, atol=1e-4
    )
    for q in (0.0, 0.001, 0.3, 0.999, 1.0):
        torch.testing.assert_close(stats.quantile(q), exact.quantile(q), rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("scheme", [AFFINE, SYMMETRIC, QuantScheme(3.4, False, False)])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_lp_error(scheme: QuantScheme, p: float) -> None:
    x, stats = channels(), collect(channels())
    exact = WeightStatistics(x, 0)
    shares = torch.tensor([1.0, 0.7, 0.3])[:, None]
    low, high = stats.low * shares, stats.high * shares
    found = stats.lp_error(low, high, scheme, p)
    right = exact.lp_error(low, high, scheme, p)
    # A constant has no density: its error is that of one value, not of a bin.
    torch.testing.assert_close(found[:, :5], right[:, :5], rtol=0.06, atol=0)
    torch.testing.assert_close(found[:, 5:], right[:, 5:], rtol=1e-3, atol=1e-6)


def test_histogram() -> None:
    x, stats = channels(), collect(channels())
    bound = x.abs().amax(1).clamp(min=1.0)
    found, right = stats.histogram(64, bound), WeightStatistics(x, 0).histogram(64, bound)
    assert torch.equal(found.sum(1).round().long(), x.shape[1] - stats.zeros)
    # But for the bins around zero, where the exact ones count what is as good as zero, too.
    outer = torch.arange(64).sub(31.5).abs() > 1
    assert bool(((found - right).abs()[:, outer].sum(1) <= 0.03 * x.shape[1] + 1).all())


@pytest.mark.parametrize(
    "observer",
    [
        MinMaxObserver(),
        PercentileObserver(99.9),
        LpNormObserver(2.0),
        LpNormObserver(2.4),
        KLObserver(),
        ACIQObserver(),
        MovingAverageObserver(),
    ],
    ids=lambda observer: type(observer).__name__,
)
@pytest.mark.parametrize("scheme", [AFFINE, SYMMETRIC], ids=["affine", "symmetric"])
def test_every_observer(observer: Observer, scheme: QuantScheme) -> None:
    """The range leaves about the error that a search over the channel alone leaves."""
    # KL minimises something else, and its best candidate jumps with the bins.
    slack = 1.3 if isinstance(observer, KLObserver) else 1.08
    x, stats = channels(), collect(channels())
    low, high = observer.compute_range(stats, scheme)
    exact = WeightStatistics(x, 0)
    assert low.shape == high.shape == (7,) and low.dtype == torch.float32
    for c in range(7):
        one_low, one_high = observer.compute_range(alone(x[c]), scheme)
        found, right = (
            exact.lp_error(*(v.reshape(1, 1).expand(1, 7) for v in ends), scheme, 2.0)[0, c]
            for ends in ((low[c], high[c]), (one_low, one_high))
        )
        assert float(found) <= slack * float(right) + 1e-12, c


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(FLOATS, min_size=6, max_size=6), min_size=1, max_size=6), st.randoms())
def test_neither_order_nor_sharing_out_changes_a_bit(pieces, random) -> None:
    tensors = [(i, torch.tensor(p).reshape(1, 3, 2, 1)) for i, p in enumerate(pieces)]
    whole = ChannelStatistics(3, -3)
    for i, piece in tensors:
        whole.update(piece, i)
    parts = [ChannelStatistics(3, -3) for _ in range(3)]
    random.shuffle(tensors)
    for i, piece in tensors:
        random.choice(parts).update(piece, i)
    parts[0].merge(parts[1])
    parts[0].merge(parts[2])
    assert same(whole, parts[0])
    assert same(whole, ChannelStatistics.from_state_dict(whole.state_dict()))


def test_any_layout_and_an_empty_tensor() -> None:
    x = channels(60).reshape(7, 3, 20).transpose(0, 1)  # (3, 7, 20), channels at -2
    stats, other = ChannelStatistics(7, -2), ChannelStatistics(7, -2)
    stats.update(x, 0)
    other.update(x.contiguous(), 0)
    other.update(x[:0], 1)
    assert same(stats, other)


def test_values_that_are_not_finite() -> None:
    stats = ChannelStatistics(2, -1)
    with pytest.raises(NumericalError, match="1 NaN and 1 Inf among 4 values"):
        stats.update(torch.tensor([[1.0, float("nan")], [float("inf"), 0.0]]), 0)
    assert stats.num_values == 0
