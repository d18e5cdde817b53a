"""Quantized layers against torch's functional forms on tensors quantized by hand."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import wrappers
from torch import Tensor, nn

from mmptq.modules import (
    QUANTIZABLE,
    QuantConv2d,
    QuantLayer,
    QuantLinear,
    out_channels,
    quantized_class,
    replace_module,
    to_quantized,
)
from mmptq.quantizers import UniformQuantizer

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(4, 6, 3, padding=1), (2, 4, 9, 9)),
    "no_bias": (lambda: nn.Conv2d(4, 6, 1, bias=False), (2, 4, 9, 9)),
    "grouped": (lambda: nn.Conv2d(4, 8, 3, stride=2, groups=2), (2, 4, 9, 9)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), (2, 4, 9, 9)),
    "dilated": (lambda: nn.Conv2d(4, 6, 3, dilation=2, padding=2), (2, 4, 9, 9)),
    "reflect": (lambda: nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), (2, 4, 9, 9)),
    "circular": (
        lambda: nn.Conv2d(4, 6, (3, 5), padding=(1, 2), padding_mode="circular"),
        (2, 4, 9, 9),
    ),
    "same": (lambda: nn.Conv2d(4, 6, 4, padding="same"), (2, 4, 9, 9)),
    "mmcv_conv": (lambda: wrappers.Conv2d(4, 6, 3), (2, 4, 9, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1), (2, 4, 9, 9)),
    "transposed_grouped": (lambda: nn.ConvTranspose2d(4, 6, 2, groups=2), (2, 4, 9, 9)),
    "transposed_depthwise": (
        lambda: nn.ConvTranspose2d(4, 8, 4, stride=2, groups=4, bias=False),
        (2, 4, 9, 9),
    ),
    "transposed_one_channel": (lambda: nn.ConvTranspose2d(1, 6, 2, stride=2), (2, 1, 9, 9)),
    "mmcv_transposed": (lambda: wrappers.ConvTranspose2d(4, 6, 2, stride=2), (2, 4, 9, 9)),
    "linear": (lambda: nn.Linear(7, 5), (3, 7)),
    "linear_no_bias": (lambda: nn.Linear(7, 5, bias=False), (3, 7)),
    "linear_3d": (lambda: nn.Linear(7, 5), (2, 3, 7)),
    "mmcv_linear": (lambda: wrappers.Linear(7, 5), (3, 7)),
}


def calibrated(
    low: float, high: float, symmetric: bool = False, bits: float = 4
) -> UniformQuantizer:
    quantizer = UniformQuantizer(bits, symmetric)
    quantizer.set_range(torch.tensor(low), torch.tensor(high))
    return quantizer


def weight_quantizer(weight: Tensor, bits: float = 3) -> UniformQuantizer:
    quantizer = UniformQuantizer(bits, ch_axis=0, num_channels=weight.shape[0])
    rows = weight.detach().flatten(1)
    quantizer.set_range(rows.amin(1), rows.amax(1))
    return quantizer


def build(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    return make().eval(), torch.randn(shape)


@pytest.fixture
def layer() -> QuantLayer:
    layer = to_quantized(build("conv")[0])
    layer.weight_quantizer = weight_quantizer(layer.weight)
    return layer


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_without_quantizers_it_is_the_float_layer(name: str) -> None:
    original, x = build(name)
    layer = to_quantized(original)
    assert isinstance(layer, QuantLayer)
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    assert torch.equal(layer(x), original(x))
    layer.weight_quantizer = UniformQuantizer(2)  # not calibrated yet
    layer.bind_inputs([UniformQuantizer(2)])
    assert torch.equal(layer(x), original(x))


@torch.no_grad()
def test_a_kept_float_weight_is_what_it_computes_with_when_quantizers_are_off(layer) -> None:
    original, x = build("conv")
    quantizer = layer.weight_quantizer
    rounded = quantizer(layer.weight) + quantizer.scale.view(-1, 1, 1, 1)
    layer.keep_float_weight(layer.weight)
    layer.weight.copy_(rounded)
    layer.keep_float_weight(rounded)  # it has one
    assert torch.equal(layer.quantized_weight(), quantizer(rounded))
    quantizer.enabled = False
    assert torch.equal(layer(x), original(x))
    layer.load_state_dict(layer.state_dict())  # which does not hold it
    quantizer.enabled = False
    assert layer.float_weight is None
    assert torch.equal(layer.quantized_weight(), rounded)


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_with_quantizers_it_computes_on_quantized_tensors(name: str) -> None:
    original, x = build(name)
    layer = to_quantized(original)
    axis = layer.ch_axis
    channels = layer.weight.shape[axis]
    # Steps that are powers of two: torch multiplies by 1 / scale, so ties would differ.
    scale = 2.0 ** -(torch.arange(channels) % 3 + 2)
    layer.weight_quantizer = UniformQuantizer(3, ch_axis=axis, num_channels=channels)
    layer.weight_quantizer.set_range(-3.5 * scale, 3.5 * scale)
    layer.bind_inputs([calibrated(-1.25, 2.5)])
    by_hand = copy.deepcopy(original)
    zeros = torch.zeros(channels, dtype=torch.int32)
    weight = torch.fake_quantize_per_channel_affine(original.weight, scale, zeros, axis, -4, 3)
    by_hand.weight.copy_(weight)
    expected = by_hand(torch.fake_quantize_per_tensor_affine(x, 0.25, 5, 0, 15))
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(layer(x), original(x), atol=1e-3)


@torch.no_grad()
def test_a_convolution_is_the_functional_one_exactly() -> None:
    original, x = build("grouped")
    layer = to_quantized(original)
    layer.weight_quantizer, reader = weight_quantizer(layer.weight), calibrated(-1.0, 2.0)
    layer.bind_inputs([reader])
    weight = layer.weight_quantizer(original.weight)
    expected = F.conv2d(reader(x), weight, original.bias, stride=2, groups=2)
    assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("name", LAYERS)
def test_parameters_and_arguments_are_the_originals(name: str) -> None:
    original, _ = build(name)
    original.weight.requires_grad_(False)
    layer = to_quantized(original)
    assert layer.weight is original.weight and layer.bias is original.bias
    assert not layer.weight.requires_grad and layer.training == original.training
    assert layer.extra_repr() == original.extra_repr()
    assert set(layer.state_dict()) == set(original.state_dict())


@pytest.mark.parametrize(
    ("layer", "axis"),
    [
        (nn.Conv2d(4, 8, 3, groups=2), 0),
        (nn.ConvTranspose2d(4, 6, 3), 1),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), 1),
        (nn.ConvTranspose2d(4, 8, 3, groups=4), 0),
        (nn.ConvTranspose2d(1, 8, 3), 1),
    ],
)
@torch.no_grad()
def test_a_step_per_channel_leaves_every_sum_on_integers(layer: nn.Module, axis: int) -> None:
    """Codes are convolved as integers and scaled once, behind the sum."""
    quantized = to_quantized(layer)
    assert quantized.ch_axis == axis
    count = layer.weight.shape[axis]
    scale = torch.rand(count) + 0.5
    codes = torch.randint(-8, 8, layer.weight.shape).float()
    shape = [1] * 4
    shape[axis] = -1
    layer.weight.copy_(codes * scale.view(shape))
    layer.bias.zero_()
    x = torch.randint(0, 16, (1, layer.in_channels, 5, 5)).float()
    real = layer(x)
    layer.weight.copy_(codes)
    sums = layer(x)
    assert torch.equal(sums, sums.round())
    # One factor for each output channel, wherever the pixel.
    used = sums.abs().amax((0, 2, 3)) > 0
    factors = (real / sums.where(sums != 0, torch.nan))[0].flatten(1)
    assert bool(used.all())
    assert torch.allclose(factors.nan_to_num(9.0).amin(1), factors.nan_to_num(0.0).amax(1))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("mode", ["mean", "mean_norm"])
@torch.no_grad()
def test_bias_correction_of_a_transposed_convolution(groups: int, mode: str) -> None:
    """An output channel's mean and norm, found by convolving unit vectors."""
    torch.manual_seed(0)
    original = nn.ConvTranspose2d(4, 8, 3, groups=groups, bias=False)
    layer = to_quantized(original)
    size = layer.weight.shape[layer.ch_axis]
    layer.weight_quantizer = UniformQuantizer(3, ch_axis=layer.ch_axis, num_channels=size)
    layer.weight_quantizer.set_range(-torch.ones(size) / 3, torch.ones(size) / 3)
    layer.set_weight_correction(mode)
    units = torch.eye(4).view(4, 4, 1, 1)  # each input channel's kernels, (in, out, 3, 3)

    def kernels(module: nn.Module) -> Tensor:
        every = module(units).transpose(0, 1).double()
        return every.flatten(1)  # zeros where no group connects them, in both alike

    got, wanted = kernels(layer), kernels(original)
    assert torch.allclose(got.sum(1), wanted.sum(1), atol=1e-5)
    if mode == "mean_norm":
        assert torch.allclose(got.norm(dim=1), wanted.norm(dim=1), atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_measured_correction_is_added_to_the_bias(name: str) -> None:
    """With either quantizer on; with both off the layer is the float one."""
    make, shape = LAYERS[name]
    layer, x = to_quantized(make()), torch.randn(shape)
    layer.weight_quantizer = UniformQuantizer(4)
    layer.weight_quantizer.set_range(layer.weight.amin(), layer.weight.amax())
    layer.bind_inputs([calibrated(-2.0, 2.0)])
    quantizers = (layer.weight_quantizer, layer._readers[0])
    correction = torch.arange(1.0, out_channels(layer) + 1)
    shift = correction if isinstance(layer, nn.Linear) else correction.view(-1, 1, 1)
    parameter = layer.bias
    for on in ((True, True), (True, False), (False, True), (False, False)):
        for quantizer, enabled in zip(quantizers, on, strict=True):
            quantizer.enabled = enabled
        layer.set_bias_correction(None)
        plain = layer(x)
        layer.set_bias_correction(correction)
        torch.testing.assert_close(layer(x), plain + shift if any(on) else plain)
        assert layer.bias is parameter
    layer.reset_calls()
    twin = to_quantized(make())
    twin.load_state_dict(layer.state_dict(), strict=False)
    assert torch.equal(twin.bias_correction, correction)


@torch.no_grad()
def test_a_correction_follows_the_reader_of_each_call() -> None:
    layer, x = to_quantized(nn.Linear(2, 2)), torch.ones(1, 2)
    layer.bind_inputs([calibrated(-2.0, 2.0), None])
    layer.set_bias_correction(torch.ones(2))
    first, second = layer(x), layer(x)
    assert float((first - second).mean()) > 0.5
    assert torch.equal(second, nn.Linear.forward(layer, x))


def test_a_correction_of_another_layer_is_refused() -> None:
    state = {"weight": torch.ones(3, 2), "bias": torch.ones(3), "bias_correction": torch.ones(4)}
    with pytest.raises(RuntimeError, match="bias_correction.*4.*3"):
        to_quantized(nn.Linear(2, 3)).load_state_dict(state)


def test_what_has_no_quantized_form() -> None:
    with pytest.raises(TypeError, match="BatchNorm2d has no quantized counterpart"):
        to_quantized(nn.BatchNorm2d(3))
    assert quantized_class(to_quantized(nn.Linear(2, 2))) is None
    assert {nn.Conv2d, nn.Linear, nn.ConvTranspose2d} <= set(QUANTIZABLE)
    assert QUANTIZABLE[nn.Conv2d] is QuantConv2d and QUANTIZABLE[nn.Linear] is QuantLinear


def test_a_shared_module_is_replaced_under_all_its_names() -> None:
    conv = nn.Conv2d(3, 3, 1)
    model = nn.ModuleDict(
        {"a": nn.Sequential(conv, nn.ReLU()), "b": nn.Sequential(conv), "c": conv}
    )
    new = to_quantized(conv)
    replace_module(model, conv, new)
    assert model["a"][0] is new and model["b"][0] is new and model["c"] is new


# --- the kept weight ----------------------------------------------------------------------------


@torch.no_grad()
def test_the_quantized_weight_is_computed_once(layer: QuantLayer) -> None:
    first = layer.quantized_weight()
    assert layer.quantized_weight() is first


def other_state(layer: QuantLayer) -> dict[str, Tensor]:
    state = copy.deepcopy(layer.state_dict())
    state["weight"] += 1.0
    return state


CHANGES: dict[str, Callable[[QuantLayer], object]] = {
    "weight in place": lambda m: m.weight.mul_(1.5),
    "weight.data replaced": lambda m: setattr(m.weight, "data", m.weight.data * 1.5),
    "parameter replaced": lambda m: setattr(m, "weight", nn.Parameter(m.weight * 1.5)),
    "scale in place": lambda m: m.weight_quantizer.scale.mul_(1.5),
    "range": lambda m: m.weight_quantizer.set_range(-torch.ones(6), torch.ones(6)),
    "bits": lambda m: m.weight_quantizer.set_num_bits(2.5),
    "switched off": lambda m: setattr(m.weight_quantizer, "enabled", False),
    "quantizer replaced": lambda m: setattr(m, "weight_quantizer", weight_quantizer(m.weight, 5)),
    "state loaded": lambda m: m.load_state_dict(other_state(m)),
    "state assigned": lambda m: m.load_state_dict(other_state(m), assign=True),
}


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_the_kept_weight_follows_every_change(layer: QuantLayer, change: str) -> None:
    before = layer.quantized_weight().clone()
    CHANGES[change](layer)
    assert layer.weight_quantizer is not None
    after = layer.quantized_weight()
    assert not torch.equal(after, before)
    assert torch.equal(after, layer.weight_quantizer(layer.weight))


@torch.no_grad()
def test_switching_back_on_gives_the_same_weight(layer: QuantLayer) -> None:
    assert layer.weight_quantizer is not None
    before = layer.quantized_weight().clone()
    layer.weight_quantizer.enabled = False
    assert layer.quantized_weight() is layer.weight
    layer.weight_quantizer.enabled = True
    assert torch.equal(layer.quantized_weight(), before)


@torch.no_grad()
def test_a_reused_address_is_not_taken_for_the_old_weight(layer: QuantLayer) -> None:
    """Two assignments in a row: the second tensor may get the memory that the first one left."""
    assert layer.weight_quantizer is not None
    for _ in range(200):
        layer.quantized_weight()
        layer.weight.data = torch.randn_like(layer.weight)
        layer.weight.data = torch.randn_like(layer.weight)
        assert torch.equal(layer.quantized_weight(), layer.weight_quantizer(layer.weight))


def test_with_gradients_the_weight_is_computed_anew(layer: QuantLayer) -> None:
    with torch.no_grad():
        kept = layer.quantized_weight()
    layer(torch.randn(1, 4, 5, 5)).sum().backward()
    assert layer.weight.grad is not None and bool((layer.weight.grad != 0).any())
    with torch.no_grad():
        assert layer.quantized_weight() is kept


# --- calls --------------------------------------------------------------------------------------


@torch.no_grad()
def test_each_call_reads_through_its_own_quantizer() -> None:
    layer, x = to_quantized(build("linear")[0]), torch.randn(3, 7)
    readers = [calibrated(-0.5, 0.5), None, calibrated(0.0, 3.0)]
    layer.bind_inputs(readers)
    for _ in range(2):
        for reader in readers:
            assert layer.next_reader is reader
            read = x if reader is None else reader(x)
            assert torch.equal(layer(x), F.linear(read, layer.weight, layer.bias))
        layer.reset_calls()


@torch.no_grad()
def test_a_call_too_many_raises() -> None:
    layer, x = to_quantized(build("linear")[0]), torch.randn(3, 7)
    layer.bind_inputs([calibrated(-0.5, 0.5), calibrated(0.0, 3.0)])
    layer(x)
    layer(x)
    with pytest.raises(RuntimeError, match="prepared for 2 calls"):
        layer(x)
    layer.reset_calls()
    layer(x)


@torch.no_grad()
def test_one_reader_serves_any_number_of_calls() -> None:
    layer, x = to_quantized(build("linear")[0]), torch.randn(3, 7)
    layer.bind_inputs([calibrated(-0.5, 0.5)])
    outputs = [layer(x) for _ in range(9)]
    assert all(torch.equal(outputs[0], y) for y in outputs)


@torch.no_grad()
def test_a_shared_quantizer_is_still_shared_in_a_deep_copy() -> None:
    owner, guest = (to_quantized(nn.Conv2d(3, 3, 1)) for _ in range(2))
    quantizer = calibrated(-1.0, 1.0)
    owner.input_quantizers.append(quantizer)
    owner.bind_inputs([quantizer])
    guest.bind_inputs([quantizer])
    twin = copy.deepcopy(nn.ModuleList([owner, guest]))
    assert twin[0].next_reader is twin[1].next_reader is twin[0].input_quantizers[0]
    assert twin[0].next_reader is not quantizer
    names = set(twin.state_dict())
    assert "0.input_quantizers.0.scale" in names and not any("1.input" in name for name in names)
