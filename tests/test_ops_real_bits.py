"""The pure functions at real-valued bit-widths."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from mmptq import ops
from tests.ops_support import (
    KINDS,
    fake,
    gaussian,
    kinds,
    params_and_values,
    ranges,
    real_bits,
    scheme_of,
    seeds,
)


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
