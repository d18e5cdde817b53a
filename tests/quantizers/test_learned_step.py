import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmptq import ops
from mmptq.quantizers import LearnedStepQuantizer, UniformQuantizer
from mmptq.quantizers.learned_step import random_mask


def calibrated(
    num_bits: float, x: Tensor, symmetric: bool = True, per_channel: bool = False
) -> UniformQuantizer:
    channels = dict(ch_axis=0, num_channels=len(x)) if per_channel else {}
    quantizer = UniformQuantizer(num_bits, symmetric, **channels)
    rows = x.flatten(1) if per_channel else x.reshape(1, -1)
    shape = quantizer.scale.shape
    quantizer.set_range(rows.amin(1).reshape(shape), rows.amax(1).reshape(shape))
    return quantizer


def sample(seed: int = 0, shape: tuple[int, ...] = (4, 3, 5, 5)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("target", [2, 4, 8])
def test_at_the_target_it_is_the_calibrated_quantizer(
    target: int, per_channel: bool, symmetric: bool
) -> None:
    x = sample()
    source = calibrated(target, x, symmetric, per_channel)
    learned = LearnedStepQuantizer(source)
    for bits in (8.0, 5.3, float(target)):  # there and back
        learned.set_num_bits(bits)
    assert torch.equal(learned(2.0 * x), source(2.0 * x))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_at_every_whole_bit_width_it_is_the_integer_quantizer(bits: int, symmetric: bool) -> None:
    x = sample()
    learned = LearnedStepQuantizer(calibrated(4, x, symmetric))
    learned.set_num_bits(bits)
    expected = calibrated(bits, x, symmetric)
    torch.testing.assert_close(learned(x), expected(x), rtol=1e-6, atol=1e-6)
    # A range of powers of two leaves no room for rounding of the step: bit for bit.
    grid = torch.tensor([[-4.0, 4.0]])
    exact = LearnedStepQuantizer(calibrated(4, grid, symmetric))
    exact.set_num_bits(bits)
    assert torch.equal(exact(x), calibrated(bits, grid, symmetric)(x))


@settings(max_examples=40, deadline=None)
@given(st.floats(2.0, 8.0), st.integers(0, 5), st.booleans())
def test_the_error_is_continuous_in_the_bit_width(bits: float, seed: int, symmetric: bool) -> None:
    x = sample(seed, (4000,))
    learned = LearnedStepQuantizer(calibrated(4, x, symmetric))

    def error(b: float) -> float:
        learned.set_num_bits(b)
        with torch.no_grad():
            return float((learned(x) - x).square().mean())

    here, there = error(bits), error(bits + 1e-3)
    assert abs(here - there) <= 0.05 * max(here, there)


def test_a_step_changed_since_calibration_moves_the_range() -> None:
    x = sample()
    source = calibrated(4, x)
    source.scale.mul_(0.5)
    learned = LearnedStepQuantizer(source)
    assert torch.equal(learned.scale, source.scale)
    learned.set_num_bits(8)
    torch.testing.assert_close(learned.scale * 255, source.scale * 15)


@pytest.mark.parametrize("bits", [3.0, 3.4])
@pytest.mark.parametrize("per_channel", [True, False])
def test_gradients_are_those_of_the_plain_formula(per_channel: bool, bits: float) -> None:
    """ops.fake_quantize, by autograd, on a tensor that is clipped on both sides."""
    x = sample()
    source = calibrated(4, 0.4 * x, per_channel=per_channel)
    learned = LearnedStepQuantizer(source)
    learned.set_num_bits(bits)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = sample(7)
    (learned(mine) * weight).sum().backward()
    gain = torch.zeros_like(source.scale, requires_grad=True)
    scale = learned.base_scale * gain.exp()
    bounds = learned.scheme.bounds
    out = ops.fake_quantize(theirs, scale, learned.zero_point, *bounds, ch_axis=source.ch_axis)
    (out * weight).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(learned.log_gain.grad, gain.grad, rtol=1e-4, atol=1e-4)


def test_step_gradient_by_hand() -> None:
    """LSQ eq. 3 with step 1 and codes 0..3: -0.2 and 2.4 are rounded, 9 is clipped to 3."""
    source = UniformQuantizer(2)
    source.set_range(torch.tensor(0.0), torch.tensor(3.0))
    learned = LearnedStepQuantizer(source)
    assert float(learned.scale.detach()) == 1.0
    x = torch.tensor([1.2, 2.4, 9.0], requires_grad=True)
    learned(x).sum().backward()
    torch.testing.assert_close(learned.log_gain.grad, torch.tensor(-0.2 - 0.4 + 3.0))
    assert x.grad.tolist() == [1.0, 1.0, 0.0]


def test_dropping_leaves_elements_in_float() -> None:
    x = sample(0, (100, 100))
    source = calibrated(2, x)
    learned = LearnedStepQuantizer(source)
    learned.drop_prob, learned.generator = 0.3, torch.Generator().manual_seed(1)
    y = learned(x)
    dropped = y == x
    assert 0.28 < float(dropped.double().mean()) < 0.32
    assert torch.equal(y[~dropped], source(x)[~dropped])
    learned.generator.manual_seed(1)
    assert torch.equal(learned(x), y)


def test_commit() -> None:
    x = sample()
    source = calibrated(4, x, per_channel=True)
    learned = LearnedStepQuantizer(source)
    with torch.no_grad():
        learned.log_gain.add_(0.1)
    learned.set_num_bits(6)
    with pytest.raises(RuntimeError, match="committed at"):
        learned.commit()
    learned.set_num_bits(4)
    expected = learned(x).detach()
    learned.commit()
    assert torch.equal(source(x), expected)


def test_switched_off_it_passes_everything() -> None:
    x = sample()
    learned = LearnedStepQuantizer(calibrated(2, x))
    learned.enabled = False
    assert learned(x) is x


def test_gradients_with_dropping() -> None:
    """A dropped element is the float one, for its gradients too."""
    x = sample(0, (50, 50))
    learned = LearnedStepQuantizer(calibrated(3, 0.4 * x))
    learned.drop_prob, learned.generator = 0.5, torch.Generator().manual_seed(1)
    mine = x.clone().requires_grad_()
    out = learned(mine)
    weight = sample(7, (50, 50))
    (out * weight).sum().backward()
    dropped = random_mask(x, 0.5, learned.generator.manual_seed(1))
    gain = torch.zeros((), requires_grad=True)
    theirs = x.clone().requires_grad_()
    bounds = learned.scheme.bounds
    quantized = ops.fake_quantize(
        theirs, learned.base_scale * gain.exp(), learned.zero_point, *bounds
    )
    expected = torch.where(dropped, theirs, quantized)
    (expected * weight).sum().backward()
    assert torch.equal(out, expected)
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(learned.log_gain.grad, gain.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prob", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(401, 503), (3,), (0, 5)])
def test_random_mask(shape: tuple[int, ...], prob: float) -> None:
    x = torch.zeros(shape)
    mask = random_mask(x, prob, torch.Generator().manual_seed(0))
    assert mask.shape == x.shape
    if x.numel() > 100:
        rows = mask.double()
        assert float(rows.mean()) == pytest.approx(prob, abs=0.005)
        # Neighbours are independent: those that share a random number as well.
        for lag in range(1, 9):
            both = (rows.flatten()[lag:] * rows.flatten()[:-lag]).mean()
            assert float(both) == pytest.approx(prob**2, abs=0.006)


def test_learned_rounding_starts_from_the_weight_and_ends_beside_it() -> None:
    weight = sample()
    source = calibrated(4, weight, per_channel=True)
    learned = LearnedStepQuantizer(source)
    with pytest.raises(RuntimeError, match="after prepare_rounding"):
        learned.start_rounding(weight)
    v = learned.prepare_rounding(weight)
    learned.start_rounding(weight)
    assert learned.rounding is not None and learned.rounding.v is v
    step = source.scale.reshape(-1, 1, 1, 1)
    clipped = torch.minimum(torch.maximum(weight, -8 * step), 7 * step)
    torch.testing.assert_close(learned(weight), clipped)  # soft: not rounded yet
    learned(weight).square().sum().backward()
    assert v.grad is not None and learned.log_gain.grad is None
    with torch.no_grad():
        v.copy_(sample(1))
    rounded = learned.rounding.rounded()
    floor = (weight / step).floor()
    assert torch.equal(rounded, (floor + (v >= 0)).clamp(-8, 7) * step)
    again = LearnedStepQuantizer(source)
    again.prepare_rounding(weight).data.copy_(v.data)
    again.start_rounding(weight, keep=True)  # after a snapshot
    assert torch.equal(again(weight), learned(weight))


def test_gradients_with_channels_along_another_axis() -> None:
    """As those of a transposed convolution: the same as with the axes swapped."""
    x, grads = sample(), []
    clips = torch.tensor([0.5, 1.0, 2.0])
    for axis in (1, 0):
        source = UniformQuantizer(3, ch_axis=axis, num_channels=3)
        source.set_range(-clips, clips)
        learned = LearnedStepQuantizer(source)
        moved = x.movedim(1, axis).clone().requires_grad_()
        learned(moved).pow(3).sum().backward()
        assert torch.equal(learned(moved), source(moved))
        grads.append((learned.log_gain.grad, moved.grad.movedim(axis, 1)))
    torch.testing.assert_close(grads[0], grads[1])
