"""Properties of the pure functions at whole bit-widths."""

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
    whole_bits,
)


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
