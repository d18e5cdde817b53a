"""The pure functions, against torch's own fake quantization, hand-made vectors and properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmptq import ops
from mmptq.ops import QuantScheme

WHOLE_BITS = (1, 2, 3, 4, 5, 6, 8)
KINDS = {"signed": (True, True), "unsigned": (True, False), "affine": (False, False)}


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scheme_of(kind: str, bits: float) -> QuantScheme:
    return QuantScheme(bits, *KINDS[kind])


def fake(x: Tensor, low: float, high: float, scheme: QuantScheme) -> Tensor:
    scale, zero_point = ops.range_to_params(torch.tensor(low), torch.tensor(high), scheme)
    return ops.fake_quantize(x, scale, zero_point, *scheme.bounds)


# --- against torch ------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", WHOLE_BITS)
@pytest.mark.parametrize(("signed", "zero_point"), [(True, 0), (False, 0), (False, 1)])
@pytest.mark.parametrize("exponent", [-7, -3, 0, 2])
def test_per_tensor_is_torchs_bit_for_bit(
    bits: int, signed: bool, zero_point: int, exponent: int
) -> None:
    # Torch multiplies by 1 / scale; with powers of two that is the same, ties included.
    scale = 2.0**exponent
    ties = torch.arange(-40, 40) * scale / 2
    x = torch.cat([gaussian(2000) * 2**bits * scale, ties])
    low, high = QuantScheme(bits, True, signed).bounds
    ours = ops.fake_quantize(x, torch.tensor(scale), torch.tensor(float(zero_point)), low, high)
    torchs = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, int(low), int(high))
    assert torch.equal(ours, torchs)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("axis", [0, 1, 3])
def test_per_channel_is_torchs_away_from_ties(bits: int, axis: int) -> None:
    x = gaussian(6, 6, 3, 6) * 4
    scale = torch.rand(6, generator=torch.Generator().manual_seed(2)) * 0.5 + 0.1
    zero_point = torch.arange(6).float().clamp(max=2**bits - 1)
    ours = ops.fake_quantize(x, scale, zero_point, 0.0, 2.0**bits - 1, ch_axis=axis)
    torchs = torch.fake_quantize_per_channel_affine(
        x, scale, zero_point.int(), axis, 0, 2**bits - 1
    )
    steps = x / ops.per_channel(scale, 4, axis)
    tie = ((steps - steps.floor()) - 0.5).abs() < 1e-5
    assert tie.float().mean() < 0.01
    torch.testing.assert_close(ours[~tie], torchs[~tie], rtol=1e-6, atol=0)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_are_torchs(bits: int) -> None:
    x = gaussian(1000) * 3
    scale, zero_point = 0.25, 2
    codes = ops.quantize(x, torch.tensor(scale), torch.tensor(2.0), 0.0, 2.0**bits - 1)
    torchs = torch.quantize_per_tensor(x, scale, zero_point, torch.quint8).int_repr()
    assert torch.equal(codes, torchs.clamp(max=2**bits - 1).float())


# --- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "bits", "low", "high", "scale", "zero_point"),
    [
        ("signed", 1, -1.0, 1.0, 2.0, 0.0),
        ("signed", 2, -3.0, 1.0, 2.0, 0.0),  # 2 * 3 / (4 - 1)
        ("signed", 4, -1.5, 3.0, 0.4, 0.0),  # 2 * 3 / 15
        ("signed", 8, -1.0, 0.5, 2.0 / 255.0, 0.0),
        ("unsigned", 1, 0.0, 2.0, 2.0, 0.0),
        ("unsigned", 4, 0.0, 3.0, 0.2, 0.0),
        ("affine", 2, -1.0, 2.0, 1.0, 1.0),
        ("affine", 3, 2.0, 7.0, 1.0, 0.0),  # widened to hold 0
        ("affine", 3, -7.0, -2.0, 1.0, 7.0),
        ("affine", 8, -0.5, 1.0, 1.5 / 255.0, 85.0),
        ("affine", 4, 0.0, 0.0, 1.0, 0.0),  # nothing but zeros
        ("signed", 4, 0.0, 0.0, 1.0, 0.0),
    ],
)
def test_params_by_hand(
    kind: str, bits: int, low: float, high: float, scale: float, zero_point: float
) -> None:
    got = ops.range_to_params(torch.tensor(low), torch.tensor(high), scheme_of(kind, bits))
    torch.testing.assert_close(got, (torch.tensor(scale), torch.tensor(zero_point)))


@pytest.mark.parametrize(
    ("kind", "bits", "scale", "zero_point", "x", "codes"),
    [
        ("signed", 1, 2.0, 0.0, [-9.0, -1.1, -0.9, 0.0, 5.0], [-1, -1, 0, 0, 0]),
        ("signed", 2, 1.0, 0.0, [-9.0, -1.5, -0.5, 0.5, 1.4, 9.0], [-2, -2, 0, 0, 1, 1]),
        ("affine", 2, 1.0, 1.0, [-9.0, -0.6, -0.5, 1.5, 2.6], [0, 0, 1, 3, 3]),
        ("affine", 3, 0.5, 3.0, [-2.0, -1.5, 0.0, 1.9, 2.0, 2.3], [0, 0, 3, 7, 7, 7]),
        ("unsigned", 4, 0.25, 0.0, [-1.0, 0.1, 0.125, 0.375, 3.8], [0, 0, 0, 2, 15]),
        ("signed", 8, 0.5, 0.0, [-64.0, -63.8, 63.5, 64.0], [-128, -128, 127, 127]),
    ],
)
def test_codes_by_hand(
    kind: str, bits: int, scale: float, zero_point: float, x: list[float], codes: list[int]
) -> None:
    bounds = scheme_of(kind, bits).bounds
    args = (torch.tensor(scale), torch.tensor(zero_point))
    got = ops.quantize(torch.tensor(x), *args, *bounds)
    assert got.tolist() == codes
    expected = [scale * (code - zero_point) for code in codes]
    assert ops.fake_quantize(torch.tensor(x), *args, *bounds).tolist() == expected
    assert ops.dequantize(got, *args).tolist() == expected


def test_ties_go_to_even() -> None:
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5])
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    assert ops.fake_quantize(x, one, zero, -8.0, 7.0).tolist() == [-2, -2, 0, 0, 2, 2, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_of_whole_bits_are_the_usual_integers(kind: str) -> None:
    for bits in WHOLE_BITS:
        low, high = scheme_of(kind, bits).bounds
        expected = (
            (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if kind == "signed" else (0, 2**bits - 1)
        )
        assert (low, high) == expected


def test_per_channel_params_are_the_per_tensor_ones_of_each_channel() -> None:
    low, high = torch.tensor([-1.0, 0.0, -3.0, 0.0]), torch.tensor([2.0, 5.0, 0.0, 0.0])
    for kind in ("signed", "affine"):
        scheme = scheme_of(kind, 4)
        scale, zero_point = ops.range_to_params(low, high, scheme)
        for i in range(4):
            assert ops.range_to_params(low[i], high[i], scheme) == (scale[i], zero_point[i])


# --- properties ---------------------------------------------------------------------------------

ranges = st.tuples(
    st.floats(-100, 0, width=32), st.floats(0, 100, width=32), st.integers(-12, 12)
).filter(lambda r: r[1] - r[0] > 1e-3)
real_bits = st.floats(1.0, 8.0)
whole_bits = st.sampled_from(WHOLE_BITS)
kinds = st.sampled_from(sorted(KINDS))
seeds = st.integers(0, 2**31 - 1)


def params_and_values(
    limits: tuple[float, float, int], scheme: QuantScheme, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, zero point, and values in and around the range."""
    factor = 2.0 ** limits[2]
    low, high = torch.tensor(limits[0] * factor), torch.tensor(limits[1] * factor)
    if scheme.symmetric and not scheme.signed:
        low = torch.tensor(0.0)
        high = high.clamp(min=1e-3 * factor)
    scale, zero_point = ops.range_to_params(low, high, scheme)
    width = float((high - low).abs())
    return scale, zero_point, gaussian(300, seed=seed) * width


@settings(max_examples=100, deadline=None)
@given(ranges, kinds, whole_bits, seeds)
def test_codes_are_whole_and_in_bounds(limits, kind, bits, seed) -> None:
    scheme = scheme_of(kind, bits)
    scale, zero_point, x = params_and_values(limits, scheme, seed)
    codes = ops.quantize(x, scale, zero_point, *scheme.bounds)
    assert torch.equal(codes, codes.round())
    assert scheme.bounds[0] <= codes.min() and codes.max() <= scheme.bounds[1]
    assert torch.equal(zero_point, zero_point.round())
    assert 0 <= zero_point <= scheme.levels


@settings(max_examples=100, deadline=None)
@given(ranges, kinds, whole_bits, seeds)
def test_quantize_then_dequantize_is_fake_quantize(limits, kind, bits, seed) -> None:
    scheme = scheme_of(kind, bits)
    scale, zero_point, x = params_and_values(limits, scheme, seed)
    codes = ops.quantize(x, scale, zero_point, *scheme.bounds)
    expected = ops.fake_quantize(x, scale, zero_point, *scheme.bounds)
    assert torch.equal(ops.dequantize(codes, scale, zero_point), expected)


@settings(max_examples=100, deadline=None)
@given(ranges, kinds, whole_bits, seeds)
def test_quantizing_twice_changes_nothing(limits, kind, bits, seed) -> None:
    scheme = scheme_of(kind, bits)
    scale, zero_point, x = params_and_values(limits, scheme, seed)
    once = ops.fake_quantize(x, scale, zero_point, *scheme.bounds)
    assert torch.equal(ops.fake_quantize(once, scale, zero_point, *scheme.bounds), once)


@settings(max_examples=100, deadline=None)
@given(ranges, kinds, real_bits, seeds)
def test_zero_is_an_exact_level(limits, kind, bits, seed) -> None:
    scheme = scheme_of(kind, bits)
    scale, zero_point, _ = params_and_values(limits, scheme, seed)
    assert ops.fake_quantize(torch.zeros(1), scale, zero_point, *scheme.bounds).item() == 0.0


@settings(max_examples=100, deadline=None)
@given(ranges, kinds, real_bits, seeds)
def test_monotone(limits, kind, bits, seed) -> None:
    scheme = scheme_of(kind, bits)
    scale, zero_point, x = params_and_values(limits, scheme, seed)
    y = ops.fake_quantize(x.sort().values, scale, zero_point, *scheme.bounds)
    assert bool((y.diff() >= 0).all())


@settings(max_examples=100, deadline=None)
@given(ranges, kinds, real_bits, seeds)
def test_error_within_the_clips_is_half_a_step(limits, kind, bits, seed) -> None:
    scheme = scheme_of(kind, bits)
    scale, zero_point, x = params_and_values(limits, scheme, seed)
    low, high = ((bound - zero_point) * scale for bound in scheme.bounds)
    x = x[(x >= low) & (x <= high)]
    error = (ops.fake_quantize(x, scale, zero_point, *scheme.bounds) - x).abs()
    assert bool((error <= scale * 0.5 * (1 + 1e-5)).all())


@settings(max_examples=100, deadline=None)
@given(ranges, kinds, real_bits, seeds)
def test_the_path_with_gradients_computes_the_same_bits(limits, kind, bits, seed) -> None:
    scheme = scheme_of(kind, bits)
    scale, zero_point, x = params_and_values(limits, scheme, seed)
    plain = ops.fake_quantize(x, scale, zero_point, *scheme.bounds)
    traced = ops.fake_quantize(x.clone().requires_grad_(), scale, zero_point, *scheme.bounds)
    assert traced.requires_grad and not plain.requires_grad
    assert torch.equal(plain, traced)


def test_the_input_is_left_alone() -> None:
    x = gaussian(100)
    before = x.clone()
    fake(x, -1.0, 1.0, scheme_of("signed", 2))
    assert torch.equal(x, before)


@pytest.mark.parametrize("factor", [1e-30, 1e-20, 1e20, 1e30])
@pytest.mark.parametrize("kind", KINDS)
def test_tiny_and_huge_ranges_stay_finite(factor: float, kind: str) -> None:
    low = 0.0 if kind == "unsigned" else -1.0
    x = gaussian(500).clamp(low, 1.0) * factor
    y = fake(x, low * factor, factor, scheme_of(kind, 8))
    assert bool(y.isfinite().all())
    assert float(((y - x) / factor).abs().max()) < 0.01


# --- gradients ----------------------------------------------------------------------------------


def test_gradient_of_x_is_straight_through_inside_and_zero_outside() -> None:
    x = torch.tensor([-9.0, -1.9, -0.3, 0.0, 0.4, 1.2, 2.3, 8.0], requires_grad=True)
    out = ops.fake_quantize(x, torch.tensor(0.5), torch.tensor(0.0), -4.0, 3.0)
    out.backward(torch.arange(1.0, 9.0))
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]


def test_gradient_of_the_step_is_lsqs() -> None:
    """LSQ eq. 3: -Q_N below, round(x/s) - x/s inside, Q_P above."""
    x = gaussian(500) * 2
    scale = torch.tensor(0.3, requires_grad=True)
    upstream = gaussian(500, seed=1)
    ops.fake_quantize(x, scale, torch.tensor(0.0), -8.0, 7.0).backward(upstream)
    v = x.double().numpy() / np.float64(np.float32(0.3))
    local = np.where(v <= -8, -8.0, np.where(v >= 7, 7.0, np.round(v) - v))
    expected = float((local * upstream.double().numpy()).sum())
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(expected, rel=1e-4)


def test_gradient_of_per_channel_steps_with_a_zero_point() -> None:
    x, zero_point = gaussian(3, 200) * 2, torch.tensor([0.0, 3.0, 7.0])
    values = torch.tensor([0.2, 0.5, 1.0])
    scale = values.clone().requires_grad_()
    ops.fake_quantize(x, scale, zero_point, 0.0, 7.0, ch_axis=0).sum().backward()
    assert scale.grad is not None
    for c in range(3):
        v = (x[c].double() / values[c].double()).numpy()
        low, high = -float(zero_point[c]), 7.0 - float(zero_point[c])
        local = np.where(v <= low, low, np.where(v >= high, high, np.round(v) - v))
        assert scale.grad[c].item() == pytest.approx(local.sum(), rel=1e-4, abs=1e-3)


# --- real-valued bit-widths -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_real_bits_at_a_whole_number_are_the_integer_quantizer(kind: str, bits: int) -> None:
    x = gaussian(5000)
    low, high = (0.0 if kind == "unsigned" else -1.3), 2.1
    scheme = scheme_of(kind, float(bits))
    scale, zero_point = ops.range_to_params(torch.tensor(low), torch.tensor(high), scheme)
    codes = np.round((x / scale).numpy()) + zero_point.numpy()
    codes = np.clip(codes, *(int(b) for b in scheme.bounds))
    expected = (codes - zero_point.numpy()) * scale.numpy()
    assert np.array_equal(fake(x, low, high, scheme).numpy(), expected.astype(np.float32))


def mse_over_bits(kind: str, low: float, high: float, bits: np.ndarray) -> np.ndarray:
    x = gaussian(4000)
    if kind == "unsigned":
        x = x.relu()
    errors = [float((fake(x, low, high, scheme_of(kind, b)) - x).pow(2).mean()) for b in bits]
    return np.array(errors)


@pytest.mark.parametrize("kind", KINDS)
def test_error_falls_with_the_bit_width(kind: str) -> None:
    bits = np.arange(1.0, 8.01, 0.5)
    errors = mse_over_bits(kind, 0.0 if kind == "unsigned" else -4.0, 4.0, bits)
    assert bool((errors[2:] < errors[:-2]).all())  # over a whole bit
    assert math.log2(errors[6] / errors[-1]) / 2 == pytest.approx(
        4.0, abs=0.6
    )  # 4 -> 8: 6 dB a bit


# Clips of 1 and 2 lie well inside the data: most of the error is that of clipped values.
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip", [1.0, 2.0, 4.0])
def test_a_small_change_of_the_bit_width_is_a_small_change_of_the_error(
    kind: str, clip: float
) -> None:
    low = 0.0 if kind == "unsigned" else -0.8 * clip
    errors = mse_over_bits(kind, low, clip, np.arange(2.0, 5.0, 0.005))
    assert float(np.abs(np.diff(errors) / errors[:-1]).max()) < 0.02


@pytest.mark.parametrize(
    ("kind", "bits", "zero_point", "levels"),
    [
        ("unsigned", math.log2(5.3), 0.0, [0, 1, 2, 3, 4, 4.3]),
        ("unsigned", math.log2(5.8), 0.0, [0, 1, 2, 3, 4, 4.8]),
        ("signed", math.log2(5.3), 0.0, [-2.65, -2, -1, 0, 1, 1.65]),
        ("affine", math.log2(5.3), 1.9, [-1.9, -1, 0, 1, 2, 2.4]),
    ],
)
def test_levels_at_real_bits_are_the_whole_multiples_and_the_two_ends(
    kind: str, bits: float, zero_point: float, levels: list[float]
) -> None:
    args = torch.tensor(0.5), torch.tensor(zero_point)
    x = torch.linspace(-5.0, 5.0, 4001)
    scheme = scheme_of(kind, bits)
    seen = ops.fake_quantize(x, *args, *scheme.bounds).unique()
    torch.testing.assert_close(seen, 0.5 * torch.tensor(levels, dtype=torch.float32))
    codes = ops.quantize(x, *args, *scheme.bounds).unique()
    torch.testing.assert_close(codes, torch.tensor(levels, dtype=torch.float32) + zero_point)


@settings(max_examples=100, deadline=None)
@given(ranges, kinds, real_bits, seeds)
def test_codes_at_real_bits_are_in_bounds_and_dequantize(limits, kind, bits, seed) -> None:
    scheme = scheme_of(kind, bits)
    scale, zero_point, x = params_and_values(limits, scheme, seed)
    codes = ops.quantize(x, scale, zero_point, *scheme.bounds)
    slack = 1e-6 * scheme.levels
    assert scheme.bounds[0] - slack <= codes.min() and codes.max() <= scheme.bounds[1] + slack
    expected = ops.fake_quantize(x, scale, zero_point, *scheme.bounds)
    found = ops.dequantize(codes, scale, zero_point)
    assert float((found - expected).abs().max() / scale) <= slack


@pytest.mark.parametrize("low", [0.0, -1e-3, -0.21, -0.8, -1.0, -2.7, -5.0, -400.0])
def test_an_affine_zero_point_is_continuous_in_the_bit_width(low: float) -> None:
    ends = torch.tensor(low), torch.tensor(1.0)
    bits = np.sort(np.concatenate([np.arange(1.0, 6.0, 0.01), np.arange(2, 6) - 1e-6]))
    share, levels = -low / (1.0 - low), 2.0**bits - 1.0
    found = np.array([float(ops.range_to_params(*ends, scheme_of("affine", b))[1]) for b in bits])
    assert bool((found >= 0).all()) and bool((found <= levels.astype(np.float32)).all())
    shift = found - share * levels
    # By at most half a step, at whole bits up or down: never more than one step from bit to bit.
    assert np.abs(shift).max() <= 0.5 + 1e-5
    assert bool((np.abs(np.diff(shift)) <= np.diff(bits) + 1e-5).all())


def test_gradients_at_real_bits() -> None:
    """Inside 1 and code - x/s; beyond the clips 0 and the level."""
    # Bounds -2.65 and 1.65; 1.55 rounds beyond the upper one.
    x = torch.tensor([-9.0, -2.6, -2.4, 0.3, 1.4, 1.55, 1.7, 9.0], requires_grad=True)
    scale = torch.tensor(1.0, requires_grad=True)
    local = [-2.65, -0.05, 0.4, -0.3, -0.4, 0.1, 1.65, 1.65]
    out = ops.fake_quantize(x, scale, torch.tensor(0.0), -2.65, 1.65)
    grads = [torch.autograd.grad(value, (x, scale), retain_graph=True) for value in out]
    steepness = [float(grad[i]) for i, (grad, _) in enumerate(grads)]
    assert steepness == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert [float(grad) for _, grad in grads] == pytest.approx(local, abs=1e-6)


def test_gradient_between_the_upper_end_and_the_next_rounding_threshold() -> None:
    x = torch.tensor([1.3, 1.4], requires_grad=True)  # 1.4 lies beyond, and its level is 1
    scale = torch.tensor(1.0, requires_grad=True)
    out = ops.fake_quantize(x, scale, torch.tensor(0.0), -2.35, 1.35)
    assert out.tolist() == [1.0, 1.0]
    out[1].backward()
    assert x.grad is not None and scale.grad is not None
    assert x.grad.tolist() == [0.0, 0.0] and scale.grad.item() == 1.0
