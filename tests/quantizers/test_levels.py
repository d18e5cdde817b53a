"""What quantizers with levels of their own have in common."""

import copy

import pytest
import torch
from torch import Tensor

from mmptq.errors import ConfigError
from mmptq.quantizers import (
    LearnedStepQuantizer,
    LevelQuantizer,
    LogQuantizer,
    TwinQuantizer,
    UniformQuantizer,
)
from mmptq.quantizers.levels import multiples, nearest

# With a range that the kind can have.
KINDS = {
    "log": (LogQuantizer, 2.0**-9, 0.9),
    "twin_small": (TwinQuantizer, 2.0**-4, 1.0),
    "twin_signed": (TwinQuantizer, -0.17, 3.1),
}


def calibrated(kind: str, bits: float = 4.0) -> LevelQuantizer:
    cls, low, high = KINDS[kind]
    quantizer = cls(bits, symmetric=False)
    quantizer.set_range(torch.tensor(low), torch.tensor(high))
    return quantizer


def values(kind: str, count: int = 500) -> Tensor:
    _, low, high = KINDS[kind]
    x = torch.rand(count, generator=torch.Generator().manual_seed(0)) ** 4 * 1.3 * high
    return x + 1.5 * low if low < 0 else x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8, 3.4])
def test_each_value_gets_the_nearest_of_all_levels(kind: str, bits: float) -> None:
    quantizer, x = calibrated(kind, bits), values(kind)
    levels = quantizer.units * quantizer.scale
    if bits == int(bits):
        assert len(levels) == 2**bits
    assert bool((levels.diff() >= 0).all()) and bool((levels == 0).any())
    distance = (x[:, None] - levels).abs()
    torch.testing.assert_close((quantizer(x) - x).abs(), distance.min(1).values)
    codes = quantizer.quantize(x)
    assert torch.equal(quantizer(x), levels[codes.long()])
    assert torch.equal(quantizer(quantizer(x)), quantizer(x))


@pytest.mark.parametrize("kind", KINDS)
def test_off_until_it_has_a_range_and_again_without(kind: str) -> None:
    cls, x = KINDS[kind][0], values(kind)
    new, quantizer = cls(4, symmetric=False), calibrated(kind)
    assert new(x) is x and not new.calibrated
    assert not new.exportable and UniformQuantizer.exportable
    before = quantizer.fingerprint()
    quantizer.forget_range()
    assert quantizer(x) is x and quantizer.fingerprint() != before
    assert all(
        torch.equal(a, b) or bool(a.isnan())
        for a, b in zip(quantizer.state_dict().values(), new.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_reloads_to_the_same_bits(kind: str) -> None:
    quantizer, x = calibrated(kind, 3), values(kind)
    quantizer.scale.mul_(1.1)  # learned since
    fresh = KINDS[kind][0](3, symmetric=False)
    fresh.load_state_dict(quantizer.state_dict())
    assert fresh.enabled and torch.equal(fresh(x), quantizer(x))


@pytest.mark.parametrize("kind", KINDS)
def test_other_bits_are_those_of_the_range(kind: str) -> None:
    quantizer, direct = calibrated(kind, 8), calibrated(kind, 4)
    for bits in (5.5, 2, 4):
        quantizer.set_num_bits(bits)
    assert torch.equal(quantizer.units, direct.units)
    torch.testing.assert_close(quantizer.scale, direct.scale)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_scales_all_levels_and_gradients_are_those_of_lsq(kind: str) -> None:
    quantizer, x = calibrated(kind), values(kind)
    quantizer.scale.requires_grad_()
    x.requires_grad_()
    quantizer(x).sum().backward()
    low, high = (float(end) for end in quantizer.units[[0, -1]] * quantizer.scale.detach())
    inside = (x > low) & (x < high)
    assert torch.equal(x.grad, inside.float())
    codes = nearest(x.detach() / quantizer.scale.detach(), quantizer.units)
    expected = codes - torch.where(inside, x.detach() / quantizer.scale.detach(), 0.0)
    torch.testing.assert_close(quantizer.scale.grad, expected.sum(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_its_step_can_be_learned(kind: str) -> None:
    quantizer, x = calibrated(kind), values(kind)
    learned = LearnedStepQuantizer(quantizer)
    assert torch.equal(learned(x.clone().requires_grad_()), quantizer(x))
    with torch.no_grad():
        assert torch.equal(learned(x), quantizer(x))
    learned.set_num_bits(6.3)
    assert torch.equal(learned(x).detach(), calibrated(kind, 6.3)(x))
    learned.set_num_bits(4)
    loss = (learned(x) - x).square().sum()
    loss.backward()
    with torch.no_grad():
        learned.log_gain -= 1e-3 * learned.log_gain.grad.sign()
        assert float((learned(x) - x).square().sum()) < float(loss)
        learned.commit()
        assert torch.equal(learned(x), quantizer(x))


def test_dropped_elements_pass(kind: str = "log") -> None:
    learned, x = LearnedStepQuantizer(calibrated(kind)), values(kind)
    learned.drop_prob, learned.generator = 0.5, torch.Generator().manual_seed(1)
    kept = float((learned(x) == x).float().mean())
    assert 0.4 < kept < 0.6


@pytest.mark.parametrize("kind", ["log", "twin_signed"])
def test_what_it_refuses(kind: str) -> None:
    cls = KINDS[kind][0]
    with pytest.raises(ConfigError, match=rf"{cls.__name__} has one step.*per_channel='none'"):
        cls(4, ch_axis=-1, num_channels=3)
    with pytest.raises(ConfigError, match=rf"num_bits = 1: {cls.__name__} takes 2 bits or more"):
        cls(1)
    with pytest.raises(ConfigError, match="num_bits = 1.5"):
        calibrated(kind).set_num_bits(1.5)


def test_copies_do_not_share_levels() -> None:
    quantizer = calibrated("log")
    other = copy.deepcopy(quantizer)
    other.set_range(torch.tensor(0.1), torch.tensor(0.2))
    assert not torch.equal(other.units, quantizer.units)


def test_multiples() -> None:
    assert multiples(3.0).tolist() == [0, 1, 2, 3]
    assert multiples(2.5).tolist() == [0, 1, 2, 2.5]
