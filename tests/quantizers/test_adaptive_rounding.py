import math

import pytest
import torch

from mmptq.quantizers import AdaptiveRoundingQuantizer, UniformQuantizer
from mmptq.quantizers.adaptive_rounding import (
    linear_beta,
    rectified_sigmoid,
    rounding_regularizer,
    settled_share,
)


def quantizer(num_bits: float = 4, clip: float = 1.0) -> UniformQuantizer:
    made = UniformQuantizer(num_bits, ch_axis=0, num_channels=3)
    made.set_range(torch.full((3,), -clip), torch.full((3,), clip))
    return made


def weight(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(seed)) * 0.4


def test_rectified_sigmoid_by_hand() -> None:
    """1.2 sigmoid(v) - 0.1, cut to [0, 1]; AdaRound eq. 23."""
    v = torch.tensor([-100.0, math.log(1 / 11), 0.0, math.log(3.0), 100.0])
    expected = torch.tensor([0.0, 0.0, 0.5, 0.8, 1.0])
    torch.testing.assert_close(rectified_sigmoid(v), expected, atol=1e-6, rtol=0)


def test_regularizer_by_hand() -> None:
    """Sum of 1 - |2h - 1|^beta; AdaRound eq. 24."""
    h = torch.tensor([0.0, 1.0, 0.5, 0.75])
    assert float(rounding_regularizer(h, 2.0)) == pytest.approx(0 + 0 + 1 + 0.75)
    assert float(rounding_regularizer(h, 20.0)) == pytest.approx(2 - 0.5**20)


@pytest.mark.parametrize("beta", [20.0, 7.3, 2.0])
def test_gradients_are_those_of_the_formulas(beta: float) -> None:
    """By torch's own autograd, in double precision; some of the h are 0 or 1."""
    v = torch.linspace(-4.0, 4.0, 41, dtype=torch.float64, requires_grad=True)
    h = (torch.sigmoid(v) * 1.2 - 0.1).clamp(0.0, 1.0)
    target = torch.linspace(0.0, 1.0, 41, dtype=torch.float64)

    def loss(h: torch.Tensor, regularizer: torch.Tensor) -> torch.Tensor:
        return ((h - target) ** 2).sum() + 0.3 * regularizer

    plain = loss(h, (1.0 - (2.0 * h - 1.0).abs().pow(beta)).sum())
    own = rectified_sigmoid(v)
    fused = loss(own, rounding_regularizer(own, beta))
    torch.testing.assert_close(fused, plain)
    (expected,), (found,) = (torch.autograd.grad(value, v) for value in (plain, fused))
    torch.testing.assert_close(found, expected)
    assert (found == 0.0).any() and (found != 0.0).any()


def test_beta_falls_linearly() -> None:
    assert [linear_beta(p) for p in (-1.0, 0.0, 0.5, 1.0, 2.0)] == [20.0, 20.0, 11.0, 2.0, 2.0]


def test_starts_at_the_clipped_float_weight() -> None:
    source, w = quantizer(), weight()
    low, high = source.scheme.bounds
    step = 2.0 / 15
    expected = w.clamp(low * step, high * step)
    torch.testing.assert_close(AdaptiveRoundingQuantizer(source, w)(w), expected)


def test_hard_rounding_at_the_start_is_to_nearest() -> None:
    source, w = quantizer(), weight()
    torch.testing.assert_close(AdaptiveRoundingQuantizer(source, w).rounded(), source(w))


def test_each_weight_goes_up_or_down_as_v_says() -> None:
    source, w = quantizer(), weight()
    learned = AdaptiveRoundingQuantizer(source, w)
    steps = w / source.scale.reshape(3, 1, 1, 1)
    up = torch.rand(w.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    with torch.no_grad():
        learned.v.copy_(torch.where(up, 9.0, -9.0))
    expected = torch.where(up, steps.floor() + 1, steps.floor()).clamp(-8, 7)
    torch.testing.assert_close(learned.rounded() / learned.scale, expected)
    assert torch.equal(learned(w), learned.rounded())
    assert settled_share(learned.v) == 1.0


def test_the_rounded_weight_is_on_the_calibrated_quantizers_grid() -> None:
    source, w = quantizer(clip=0.37), weight()
    learned = AdaptiveRoundingQuantizer(source, w)
    with torch.no_grad():
        learned.v.add_(torch.randn(w.shape, generator=torch.Generator().manual_seed(2)) * 3)
    rounded = learned.rounded()
    assert torch.equal(source(rounded), rounded)


def test_real_bits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"4.5 bits"):
        AdaptiveRoundingQuantizer(quantizer(4.5), weight())


def test_gradient_reaches_only_roundings_that_are_undecided_and_unclipped() -> None:
    source = quantizer()
    w = torch.tensor([0.05, 5.0, -5.0]).reshape(3, 1, 1, 1)
    learned = AdaptiveRoundingQuantizer(source, w)
    learned(w).sum().backward()
    assert (learned.v.grad.flatten() != 0).tolist() == [True, False, False]


def test_channels_along_another_axis() -> None:
    """As those of a transposed convolution: the same as with the axes swapped."""
    source = UniformQuantizer(4, ch_axis=1, num_channels=3)
    clips = torch.tensor([0.5, 1.0, 2.0])
    source.set_range(-clips, clips)
    first = UniformQuantizer(4, ch_axis=0, num_channels=3)
    first.set_range(-clips, clips)
    w = weight()
    made = AdaptiveRoundingQuantizer(source, w.transpose(0, 1))
    wanted = AdaptiveRoundingQuantizer(first, w)
    torch.nn.init.normal_(made.v, generator=torch.Generator().manual_seed(0))
    wanted.v.data = made.v.data.transpose(0, 1).contiguous()
    made(w.transpose(0, 1)).square().sum().backward()
    wanted(w).square().sum().backward()
    assert torch.equal(made.rounded(), wanted.rounded().transpose(0, 1))
    assert torch.equal(made.v.grad, wanted.v.grad.transpose(0, 1))
