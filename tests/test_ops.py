"""The pure functions, against torch's own fake quantization and hand-made vectors."""

import numpy as np
import pytest
import torch

from mmptq import ops
from mmptq.ops import QuantScheme
from tests.ops_support import KINDS, WHOLE_BITS, gaussian, scheme_of

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
