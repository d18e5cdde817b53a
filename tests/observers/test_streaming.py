import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmptq.errors import CalibrationDataError, ConfigError, NumericalError
from mmptq.observers import TensorStatistics
from mmptq.ops import QuantScheme, fake_quantize, range_to_params

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
PIECES = st.lists(
    st.tuples(st.integers(0, 4), st.lists(FLOATS, min_size=1, max_size=12)), min_size=1, max_size=8
)
SCHEMES = [
    QuantScheme(8, symmetric=True, signed=True),
    QuantScheme(4, symmetric=True, signed=True),
    QuantScheme(2, symmetric=True, signed=True),
    QuantScheme(3.3, symmetric=True, signed=True),
    QuantScheme(2.2, symmetric=True, signed=True),
    QuantScheme(2.2, symmetric=True, signed=False),
    QuantScheme(4, symmetric=True, signed=False),
    QuantScheme(8, symmetric=False, signed=False),
    QuantScheme(2.6, symmetric=False, signed=False),
    QuantScheme(3.1, symmetric=False, signed=False),
    QuantScheme(1, symmetric=False, signed=False),
    QuantScheme(14, symmetric=True, signed=True),
]


def collect(*pieces, image=0):
    stats = TensorStatistics()
    for i, piece in enumerate(pieces):
        stats.update(piece, image=image + i)
    return stats


def same(a: TensorStatistics, b: TensorStatistics) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(
        torch.equal(left[k], right[k]) if torch.is_tensor(left[k]) else left[k] == right[k]
        for k in left
    )


def true_error(x, low, high, scheme, p):
    scale, zero_point = range_to_params(low, high, scheme)
    return float(
        (fake_quantize(x, scale, zero_point, *scheme.bounds) - x).double().abs().pow(p).mean()
    )


def sample(kind, count=200_000, seed=0):
    x = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    return {
        "gauss": x,
        "relu": x.relu(),
        "relu6": (4 * x).clamp(0.0, 6.0),
        "shifted": 0.3 * x + 0.5,
        "cubic": x**3,
        "negative": -x.abs() - 0.1,
        "tiny": x * 1e-30,
        "huge": x * 1e30,
    }[kind]


@settings(max_examples=100, deadline=None)
@given(PIECES, st.randoms())
def test_merging_equals_one_pass_in_any_order(pieces, random):
    one_pass = TensorStatistics()
    processes = [TensorStatistics(), TensorStatistics(), TensorStatistics()]
    for image, numbers in pieces:
        one_pass.update(torch.tensor(numbers), image)
    shuffled = list(pieces)
    random.shuffle(shuffled)
    for image, numbers in shuffled:
        random.choice(processes).update(torch.tensor(numbers), image)
    a, b, c = processes
    left, right = copy.deepcopy(a), copy.deepcopy(c)
    left.merge(b)
    left.merge(c)  # (a + b) + c
    right.merge(b)
    right.merge(a)  # (c + b) + a
    assert same(left, right)
    assert same(left, one_pass)
    assert left.count == sum(len(numbers) for _, numbers in pieces)


def test_exact_extremes_and_image_ranges():
    stats = collect(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.0]), image=3)
    stats.update(torch.tensor([[7.0]]), image=3)
    stats.update(torch.empty(0, 4), image=9)
    lows, highs = stats.image_ranges()
    assert (lows.tolist(), highs.tolist()) == ([-2.0, 0.0], [7.0, 0.5])
    assert (float(stats.low), float(stats.high)) == (-2.0, 7.0)
    assert (stats.count, stats.zeros) == (5, 1)


def test_survives_saving_without_pickled_objects(tmp_path):
    stats = collect(torch.randn(500), torch.randn(70) * 1e6)
    torch.save(stats.state_dict(), tmp_path / "stats.pth")
    state = torch.load(tmp_path / "stats.pth", weights_only=True)
    loaded = TensorStatistics.from_state_dict(state)
    assert same(stats, loaded)
    for each in (stats, loaded):
        each.update(torch.full((3,), 1e-9), image=7)
    assert same(stats, loaded)


def test_memory_layout_and_dtype_do_not_matter():
    x = torch.randn(2, 3, 8, 8).half()
    plain = collect(x.float())
    assert same(plain, collect(x))
    assert same(plain, collect(x.to(memory_format=torch.channels_last)))
    assert same(plain, collect(x.double().transpose(1, 3)))


@pytest.mark.parametrize("kind", ["gauss", "relu", "relu6", "shifted", "cubic", "tiny", "huge"])
def test_moments_and_quantiles_against_numpy(kind):
    x = sample(kind)
    stats = collect(*x.chunk(7))
    exact = x.double().numpy()
    spread = exact.std()
    assert float(stats.mean()) == pytest.approx(exact.mean(), abs=1e-4 * spread)
    assert float(stats.std()) == pytest.approx(spread, rel=1e-3)
    deviation = np.abs(exact - exact.mean()).mean()
    assert float(stats.abs_moment(1.0, stats.mean())) == pytest.approx(deviation, rel=1e-3)
    for q in (0.0, 0.001, 0.3, 0.5, 0.9, 0.9999, 1.0):
        rank = round(q * (x.numel() - 1))
        near = np.sort(exact)[max(rank - 1, 0) : rank + 2]  # neighbours: tails are thinly filled
        slack = 1.1e-3 * abs(exact).max() * 0.01 + 1.1e-3 * np.abs(near).max()
        assert near[0] - slack <= float(stats.quantile(q)) <= near[-1] + slack


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize(
    "kind", ["gauss", "relu", "relu6", "shifted", "cubic", "negative", "tiny", "huge"]
)
def test_lp_error_against_the_real_quantizer(kind, scheme):
    x = sample(kind)
    stats = collect(x)
    shares = torch.tensor([1.0, 0.6, 0.3, 0.07])
    for p in (1.0, 2.0, 2.5, 4.0):
        ours = stats.lp_error(stats.low * shares, stats.high * shares, scheme, p)
        for i, share in enumerate(shares):
            # In float64, since at 14 bits the rounding of float32 itself shows. There a bin spans
            # many steps, and where in a step each of the sample's values falls is its own luck.
            expected = true_error(x.double(), stats.low * share, stats.high * share, scheme, p)
            assert float(ours[i]) == pytest.approx(
                expected, rel=1e-2 if scheme.num_bits > 8 else 5e-3
            )


@pytest.mark.parametrize("symmetric", [True, False])
def test_more_bits_cost_less(symmetric):
    # Over the whole range: with clipping, the clips that the codes really reach move with the step.
    stats = collect(sample("gauss"))
    errors = []
    for bits in range(1, 17):
        scheme = QuantScheme(bits, symmetric=symmetric, signed=symmetric)
        errors.append(float(stats.lp_error(stats.low[None], stats.high[None], scheme, 2.0)))
    assert errors == sorted(errors, reverse=True)
    # Far from clipping one bit more is a quarter of the error, step^2 / 12.
    assert errors[9] / errors[10] == pytest.approx(4.0, rel=0.02)


def test_an_outlier_costs_the_others_no_resolution():
    x = torch.cat([sample("gauss"), torch.tensor([1e6])])
    stats = collect(x)
    assert float(stats.quantile(0.99)) == pytest.approx(np.quantile(x.numpy(), 0.99), rel=2e-3)
    clip = torch.tensor([3.0])
    scheme = SCHEMES[0]
    ours = float(stats.lp_error(-clip, clip, scheme, 1.0))
    assert ours == pytest.approx(true_error(x, -clip, clip, scheme, 1.0), rel=1e-3)


@pytest.mark.parametrize("value", [0.0, 3.7, -2.5e-20, 6.0])
def test_constant_tensors(value):
    stats = collect(torch.full((100,), value))
    constant = float(torch.tensor(value))
    assert float(stats.mean()) == pytest.approx(constant)
    assert float(stats.std()) == pytest.approx(0.0, abs=1e-7 * abs(constant))
    assert float(stats.quantile(0.3)) == pytest.approx(constant)
    scheme = QuantScheme(4, symmetric=False, signed=False)
    error = stats.lp_error(stats.low[None], stats.high[None], scheme, 2.0)
    assert float(error) == pytest.approx(0.0, abs=1e-10 * constant**2)


def test_histogram_counts():
    x = torch.tensor([-3.9, -0.5, 0.0, 0.0, 0.5, 0.6, 3.9])
    counts = collect(x).histogram(8, torch.tensor(4.0))
    assert counts.tolist() == pytest.approx([1, 0, 0, 1, 2, 0, 0, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1.0, float("nan"), float("nan")], "2 NaN and 0 Inf among 3"),
        ([float("-inf"), 1.0], "0 NaN and 1 Inf among 2"),
        ([float("-inf"), float("nan")], "1 NaN and 1 Inf"),
    ],
)
def test_nan_and_inf_are_refused_and_change_nothing(bad, message):
    stats = collect(torch.tensor([1.0, 2.0]))
    before = copy.deepcopy(stats)
    with pytest.raises(NumericalError, match=message):
        stats.update(torch.tensor(bad), image=1)
    assert same(stats, before)


def test_a_tensor_that_was_never_seen():
    with pytest.raises(CalibrationDataError, match="saw no value"):
        _ = TensorStatistics().low


def test_bad_resolution():
    with pytest.raises(ConfigError, match="bins_per_octave must be a power of two.*100"):
        TensorStatistics(bins_per_octave=100)
    with pytest.raises(ConfigError, match="must agree to merge.*1024 and 64"):
        TensorStatistics().merge(TensorStatistics(64))
