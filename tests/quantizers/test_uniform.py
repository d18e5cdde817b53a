"""The uniform quantizer as a module: ranges, bit-widths, state."""

import copy
import io

import pytest
import torch
from mmengine.runner.checkpoint import get_state_dict
from mmengine.runner.checkpoint import load_state_dict as mmengine_load
from torch import Tensor, nn

from mmptq import ops
from mmptq.ops import QuantScheme
from mmptq.quantizers import UniformQuantizer


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def calibrated(bits: float = 4, symmetric: bool = True, low: float = -1.0, high: float = 2.0):
    quantizer = UniformQuantizer(bits, symmetric)
    quantizer.set_range(torch.tensor(low), torch.tensor(high))
    return quantizer


def test_passes_through_until_it_has_a_range() -> None:
    quantizer, x = UniformQuantizer(2), gaussian(10)
    assert not quantizer.calibrated and not quantizer.enabled
    assert quantizer(x) is x
    quantizer.set_range(torch.tensor(-1.0), torch.tensor(1.0))
    assert quantizer.calibrated and quantizer.enabled
    assert not torch.equal(quantizer(x), x)
    quantizer.enabled = False
    assert quantizer(x) is x


@pytest.mark.parametrize("symmetric", [True, False])
def test_without_its_range_it_is_as_new(symmetric: bool) -> None:
    quantizer, new = calibrated(4, symmetric, low=0.0), UniformQuantizer(4, symmetric)
    quantizer.forget_range()
    assert not quantizer.calibrated and not quantizer.enabled
    assert quantizer.scheme == new.scheme
    pairs = zip(quantizer.state_dict().values(), new.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) or (a.isnan() & b.isnan()).all() for a, b in pairs)


@pytest.mark.parametrize("symmetric", [True, False])
def test_forward_is_ops_on_the_range(symmetric: bool) -> None:
    x, quantizer = gaussian(500), calibrated(4, symmetric)
    scheme = QuantScheme(4.0, symmetric, symmetric)
    params = ops.range_to_params(torch.tensor(-1.0), torch.tensor(2.0), scheme)
    assert torch.equal(quantizer(x), ops.fake_quantize(x, *params, *scheme.bounds))
    assert torch.equal(quantizer.quantize(x), ops.quantize(x, *params, *scheme.bounds))


def test_symmetric_is_unsigned_only_while_its_range_holds_no_negative_value() -> None:
    quantizer = calibrated(4, True, 0.0, 3.0)
    assert not quantizer.scheme.signed and not bool(quantizer.signed)
    assert quantizer.scale.item() == pytest.approx(0.2)
    assert quantizer.quantize(torch.tensor([9.0])).item() == 15
    quantizer.set_range(torch.tensor(-0.1), torch.tensor(3.0))
    assert quantizer.scheme.signed and bool(quantizer.signed)
    assert quantizer.scale.item() == pytest.approx(0.4)
    assert quantizer.quantize(torch.tensor([9.0])).item() == 7


@pytest.mark.parametrize("axis", [0, 1])
def test_each_channel_has_its_own_step(axis: int) -> None:
    x = gaussian(3, 3, 50)
    quantizer = UniformQuantizer(4, ch_axis=axis, num_channels=3)
    low, high = -torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0])
    quantizer.set_range(low, high)
    for c in range(3):
        single = calibrated(4, True, float(low[c]), float(high[c]))
        assert torch.equal(quantizer(x).select(axis, c), single(x.select(axis, c)))


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (torch.zeros(2), torch.ones(2)),
        (torch.zeros(1), torch.ones(1)),
        (torch.tensor(0.0), torch.ones(2)),
    ],
)
def test_range_of_another_shape(low: Tensor, high: Tensor) -> None:
    quantizer = UniformQuantizer(4)
    with pytest.raises(ValueError, match="shape"):
        quantizer.set_range(low, high)
    assert not quantizer.calibrated


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_range_that_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        UniformQuantizer(4).set_range(torch.tensor(-1.0), torch.tensor(bad))


def test_axis_without_size() -> None:
    with pytest.raises(ValueError, match="together"):
        UniformQuantizer(4, ch_axis=0)


def test_wrong_number_of_channels_in_the_input() -> None:
    quantizer = UniformQuantizer(4, ch_axis=0, num_channels=3)
    quantizer.set_range(-torch.ones(3), torch.ones(3))
    with pytest.raises(RuntimeError):
        quantizer(gaussian(4, 5))


# --- bit-width ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (0.0, 3.0)])
@pytest.mark.parametrize("target", [2, 3.7, 6])
def test_set_num_bits_keeps_a_symmetric_clip(low: float, high: float, target: float) -> None:
    quantizer = calibrated(8, True, low, high)
    quantizer.set_num_bits(target)
    assert quantizer.scale.item() == pytest.approx(calibrated(target, True, low, high).scale.item())
    assert quantizer.num_bits.item() == target == quantizer.scheme.num_bits


@pytest.mark.parametrize("target", [2, 3, 5, 6])
def test_set_num_bits_keeps_an_affine_range_up_to_half_a_step(target: int) -> None:
    quantizer = calibrated(8, False, -1.0, 2.0)
    quantizer.set_num_bits(target)
    scale = quantizer.scale.item()
    low, high = quantizer(torch.tensor([-9.0, 9.0])).tolist()
    assert scale == pytest.approx(3.0 / (2**target - 1))
    assert abs(low + 1.0) <= scale / 2 and abs(high - 2.0) <= scale / 2
    assert quantizer(torch.zeros(1)).item() == 0.0
    codes = quantizer.quantize(gaussian(1000) * 3)
    assert codes.min() == 0 and codes.max() == 2**target - 1


RANGES = {
    "whole tensor": (torch.tensor(-0.37), torch.tensor(2.13)),
    "positive": (torch.tensor(0.0), torch.tensor(3.3)),
    "negative": (torch.tensor(-1.9), torch.tensor(0.0)),
    "channels": (
        torch.tensor([-0.51, -1e-3, -7.0, 0.0, -3.0, 0.0]),
        torch.tensor([1.0, 2.0, 1.1, 4.0, 0.0, 0.0]),
    ),
}


def over(ends: tuple[Tensor, Tensor], bits: float, symmetric: bool) -> UniformQuantizer:
    per_channel = {"ch_axis": 0, "num_channels": len(ends[0])} if ends[0].dim() else {}
    quantizer = UniformQuantizer(bits, symmetric, **per_channel)
    quantizer.set_range(*ends)
    return quantizer


@pytest.mark.parametrize("ends", RANGES.values(), ids=RANGES.keys())
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("target", [2.0, 3.0, 4.4])
def test_many_small_changes_of_the_bit_width_lead_where_one_does(
    ends: tuple[Tensor, Tensor], symmetric: bool, target: float
) -> None:
    walked, direct = over(ends, 8.0, symmetric), over(ends, target, symmetric)
    for i in range(1, 500):
        walked.set_num_bits(8.0 + (target - 8.0) * i / 500)
    walked.set_num_bits(target)
    assert torch.equal(walked.scale, direct.scale)
    assert torch.equal(walked.zero_point, direct.zero_point)
    x = gaussian(6, 400) * 3
    assert torch.equal(walked(x), direct(x))


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_changed_step_takes_the_range_along(symmetric: bool) -> None:
    ends = RANGES["channels"]
    ends = ends[0][:-1], ends[1][:-1]
    quantizer = over(ends, 8.0, symmetric)
    for gain, bits in ((0.7, 6.3), (1.9, 5.1), (0.9, 4.2)):
        quantizer.scale.mul_(gain)
        for i in range(50):
            quantizer.set_num_bits(bits + i / 50)
        quantizer.set_num_bits(bits)
    quantizer.set_num_bits(4)
    gain = 0.7 * 1.9 * 0.9
    direct = over((ends[0] * gain, ends[1] * gain), 4.0, symmetric)
    torch.testing.assert_close(quantizer.scale, direct.scale, rtol=1e-6, atol=0.0)
    assert torch.equal(quantizer.zero_point, direct.zero_point)


def test_an_affine_range_of_one_sign_stays_one_at_real_bits() -> None:
    x = gaussian(1000) * 3
    for bits in (1.5, 2.3, 3.7, 6.9):
        assert over(RANGES["negative"], bits, False)(x).max() <= 1e-6
        assert over(RANGES["positive"], bits, False)(x).min() == 0.0


def test_set_num_bits_before_there_is_a_range() -> None:
    quantizer = UniformQuantizer(8)
    quantizer.set_num_bits(4)
    assert not quantizer.calibrated and not quantizer.enabled
    quantizer.set_range(torch.tensor(-1.5), torch.tensor(1.5))
    assert quantizer.scale.item() == pytest.approx(0.2)


# --- state --------------------------------------------------------------------------------------


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = UniformQuantizer(8, symmetric=True)
        self.b = UniformQuantizer(8, symmetric=False)
        self.c = UniformQuantizer(8, ch_axis=0, num_channels=4)
        self.never = UniformQuantizer(8)


def used() -> Holder:
    holder = Holder()
    holder.a.set_range(torch.tensor(0.0), torch.tensor(1.7))
    holder.b.set_range(torch.tensor(-0.3), torch.tensor(1.7))
    holder.c.set_range(-torch.rand(4) - 0.1, torch.rand(4))
    holder.a.set_num_bits(3.14159265358979)
    holder.b.set_num_bits(1 / 3 + 2)
    return holder


def same(a: Holder, b: Holder) -> None:
    x = gaussian(4, 100)
    for name, quantizer in a.named_children():
        other = b.get_submodule(name)
        assert quantizer.scheme == other.scheme, name
        assert quantizer.enabled == other.enabled, name
        assert torch.equal(quantizer(x), other(x)), name


@pytest.mark.parametrize("strict", [True, False])
def test_state_survives_a_file_bit_for_bit(strict: bool) -> None:
    source, target, file = used(), Holder(), io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    target.load_state_dict(torch.load(file, weights_only=True), strict=strict)
    same(source, target)
    assert not target.never.calibrated and not target.never.enabled


def test_state_survives_mmengines_loader() -> None:
    source, target = used(), Holder()
    mmengine_load(target, get_state_dict(source), strict=True)
    same(source, target)


def test_state_can_be_assigned() -> None:
    source, target = used(), Holder()
    target.load_state_dict(source.state_dict(), assign=True)
    same(source, target)


def test_a_reloaded_quantizer_goes_on_as_the_saved_one() -> None:
    source, target = used(), Holder()
    source.b.scale.mul_(1.1)
    target.load_state_dict(source.state_dict())
    for bits in (5.7, 2.2, 4.0):
        for holder in (source, target):
            for quantizer in (holder.a, holder.b, holder.c):
                quantizer.set_num_bits(bits)
        same(source, target)


def test_a_deep_copy_is_independent() -> None:
    source = used()
    twin = copy.deepcopy(source)
    same(source, twin)
    twin.b.set_num_bits(8)
    assert source.b.scheme.num_bits == 1 / 3 + 2


# --- fingerprint --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda q: q.set_num_bits(3),
        lambda q: q.set_range(torch.tensor(-2.0), torch.tensor(2.0)),
        lambda q: setattr(q, "enabled", False),
        lambda q: q.scale.mul_(2),
        lambda q: q.zero_point.add_(1),
        lambda q: q.load_state_dict(calibrated(4, True, -3.0, 3.0).state_dict()),
    ],
)
def test_fingerprint_changes_with_whatever_changes_the_output(change) -> None:
    quantizer = calibrated()
    before = quantizer.fingerprint()
    assert quantizer.fingerprint() == before
    change(quantizer)
    assert quantizer.fingerprint() != before


def test_repr_names_what_decides() -> None:
    assert "num_bits=4, symmetric, per_tensor, enabled=True" in repr(calibrated())
