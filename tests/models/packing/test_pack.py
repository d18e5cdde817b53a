"""A packed state gives the same outputs, bit for bit, and takes the room of its codes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner.checkpoint import load_state_dict as mmengine_load
from torch import Tensor, nn

from mmptq import ops
from mmptq.errors import CheckpointError
from mmptq.models import (
    PACKED_KEY,
    QConfig,
    QuantModel,
    build_plan,
    packed_state,
    stays_float,
    trace,
)
from mmptq.models.packing import unpack_state
from mmptq.models.packing.blob import seal, unseal
from mmptq.quantizers import UniformQuantizer
from tests.ops_support import gaussian, kinds, params_and_values, ranges, scheme_of, seeds

Make = Callable[..., Any]
W4 = dict(weight=dict(num_bits=4), act=dict(num_bits=4))
MIXED = dict(
    weight=dict(num_bits=3),
    act=dict(num_bits=4.2),
    overrides=[
        dict(pattern="backbone.layer1.*", weight=dict(num_bits=5)),
        dict(pattern="backbone.layer2.*", weight=dict(num_bits=2, per_channel=False)),
        dict(pattern="backbone.layer3.*", weight=dict(num_bits=8, symmetric=False)),
        dict(pattern="neck.*", weight=dict(num_bits=12)),
        dict(role="last", weight=None),
    ],
)
LOADERS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "torch": lambda m, s: m.load_state_dict(s),
    "torch_assign": lambda m, s: m.load_state_dict(s, assign=True),
    "mmengine": lambda m, s: mmengine_load(m, s, strict=True),
}


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) > 0 and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def unpacked(state: Any) -> dict[str, Tensor]:
    """What stands in a packed state."""
    state = dict(state)
    unpack_state(state, "")
    return state


def quantized_weights(model: QuantModel) -> list[Tensor]:
    with torch.no_grad():
        return [layer.quantized_weight() for _, layer in model.quant_layers()]


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("qconfig", [W4, MIXED], ids=["w4", "mixed"])
def test_a_fresh_model_gives_the_same_bits(
    make_quantized: Make,
    make_wrapped: Make,
    raw: Make,
    image: Tensor,
    name: str,
    loader: str,
    qconfig: dict[str, Any],
) -> None:
    source, target = make_quantized(name, **qconfig), make_wrapped(name, trained=False)
    state = packed_state(source)
    assert list(state) == [PACKED_KEY] and not stays_float(source)
    LOADERS[loader](target, state)
    assert list(state) == [PACKED_KEY]  # the caller's dict is left alone
    assert target.plan == source.plan
    assert list(target.state_dict()) == list(source.state_dict())
    assert equal(quantized_weights(target), quantized_weights(source))
    assert equal(raw(target, image), raw(source, image))
    for layer, quantizer in target.weight_quantizers().items():
        theirs = source.model.get_submodule(layer)
        codes = quantizer.quantize(target.model.get_submodule(layer).weight)
        assert torch.equal(codes, theirs.weight_quantizer.quantize(theirs.weight))
    assert torch.equal(packed_state(target)[PACKED_KEY], state[PACKED_KEY])  # nothing more is lost


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8, 9, 16])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_room_it_takes(make_quantized: Make, bits: int, symmetric: bool) -> None:
    spec = dict(num_bits=bits, symmetric=symmetric)
    model = make_quantized("retinanet", weight=spec, act=dict(num_bits=8), scope="full")
    header, payload = unseal(packed_state(model)[PACKED_KEY])
    wanted, small = 0.0, 0
    for layer, quantizer in model.weight_quantizers().items():
        wanted += model.model.get_submodule(layer).weight.numel() * quantizer.scheme.num_bits / 8
        wanted += 4 * quantizer.scale.numel() * (1 if symmetric else 2)
        small += quantizer.scale.numel()
    wanted += sum(4 * p.numel() for n, p in model.named_parameters() if not n.endswith(".weight"))
    tensors = sum(map(len, header["tensors"].values()))
    assert wanted - 4 * small <= len(payload) <= wanted + 4 * tensors


@settings(max_examples=100, deadline=None)
@given(ranges, kinds, st.integers(1, 16), seeds)
def test_a_value_on_the_grid_has_its_own_code(limits: Any, kind: str, bits: int, seed: int) -> None:
    """What a packed checkpoint relies on."""
    scheme = scheme_of(kind, bits)
    scale, zero_point, x = params_and_values(limits, scheme, seed)
    codes = ops.quantize(x, scale, zero_point, *scheme.bounds)
    values = ops.dequantize(codes, scale, zero_point)
    assert torch.equal(ops.quantize(values, scale, zero_point, *scheme.bounds), codes)
    assert torch.equal(ops.fake_quantize(values, scale, zero_point, *scheme.bounds), values)


class Net(nn.Module):
    """Convolutions, one of which stands under two names, and one transposed."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 6, 3, padding=1)
        self.levels = nn.ModuleList(nn.Sequential(nn.ReLU(), conv) for _ in range(2))
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.norm = nn.GroupNorm(2, 4)
        self.out = nn.Linear(4, 5)
        self.register_buffer("short", torch.randn(3).half())
        self.register_buffer("flags", torch.tensor([True, False, True]))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("octets", torch.arange(40, dtype=torch.uint8).reshape(5, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.up(sum(level(x) for level in self.levels)))
        return self.out(x.mean((2, 3)))


def make_net(seed: int = 0, **weight: Any) -> QuantModel:
    """Prepared, with min-max ranges of weights and any of activations."""
    torch.manual_seed(seed)
    inner, x = Net().eval(), gaussian(1, 3, 8, 8)
    model = QuantModel(inner, name="net")
    qconfig = QConfig.parse(dict(weight={"num_bits": 4, **weight}, act=dict(num_bits=4)))
    model.prepare(build_plan(inner, trace(inner, ["levels.0.1", "up", "out"], inner, x), qconfig))
    for name, quantizer in model.weight_quantizers().items():
        rows = inner.get_submodule(name).weight.detach()
        axis = quantizer.ch_axis
        rows = (rows[None] if axis is None else rows.movedim(axis, 0)).flatten(1)
        shape = quantizer.scale.shape
        quantizer.set_range(rows.amin(1).reshape(shape), rows.amax(1).reshape(shape))
    for quantizer in model.sites.values():
        quantizer.set_range(
            torch.full_like(quantizer.scale, -1.7), torch.ones_like(quantizer.scale)
        )
    return model


def fresh_net() -> QuantModel:
    torch.manual_seed(9)
    return QuantModel(Net().eval(), name="net")


@torch.no_grad()
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_all_kinds_of_tensors_and_a_shared_layer(symmetric: bool, per_channel: bool) -> None:
    source, target = make_net(symmetric=symmetric, per_channel=per_channel), fresh_net()
    state = packed_state(source)
    target.load_state_dict(state)
    x = gaussian(2, 3, 8, 8)
    assert torch.equal(target(x), source(x))
    assert equal(quantized_weights(target), quantized_weights(source))
    mine = source.state_dict()
    for name, tensor in unpacked(state).items():
        assert tensor.dtype == mine[name].dtype and tensor.shape == mine[name].shape
        if not name.endswith((".weight", "range_low", "range_high")):
            assert torch.equal(tensor, mine[name]), name
    header, payload = unseal(state[PACKED_KEY])
    first, second = (header["tensors"][f"net.levels.{i}.1"]["weight"] for i in (0, 1))
    assert first[2] == "codes" and first == second  # stored once


@torch.no_grad()
def test_a_parameter_of_two_layers_serves_both() -> None:
    source = make_net()
    tied, other = source.net.levels[0][1], source.net.out
    source.net.register_parameter("tied", tied.weight)
    assert list(stays_float(source)) == ["net.levels.0.1"]
    assert "other readers" in stays_float(source)["net.levels.0.1"]
    state = unpacked(packed_state(source))
    assert torch.equal(state["net.levels.0.1.weight"], tied.weight)
    assert not torch.equal(state["net.out.weight"], other.weight)


@torch.no_grad()
@pytest.mark.parametrize("mode", ops.WEIGHT_CORRECTIONS)
def test_corrected_weights_stay_float(mode: str) -> None:
    source, target = make_net(), fresh_net()
    for _, layer in source.quant_layers():
        layer.set_weight_correction(mode)
        layer.set_bias_correction(gaussian(len(layer.bias)))
    assert len(stays_float(source)) == 3
    assert "moments" in next(iter(stays_float(source).values()))
    target.load_state_dict(packed_state(source))
    assert equal(quantized_weights(target), quantized_weights(source))
    x = gaussian(2, 3, 8, 8)
    assert torch.equal(target(x), source(x))


@torch.no_grad()
def test_real_bits_stay_float() -> None:
    source, target = make_net(num_bits=3.5), fresh_net()
    assert list(stays_float(source)) == ["net.up"]  # the first and the last layer have 8 bits
    assert "3.5 bits" in stays_float(source)["net.up"]
    target.load_state_dict(packed_state(source))
    x = gaussian(2, 3, 8, 8)
    assert torch.equal(target(x), source(x))


def test_without_ranges_nothing_is_lost() -> None:
    source = make_net()
    source.forget_ranges()
    assert not stays_float(source)
    mine, theirs = source.state_dict(), unpacked(packed_state(source))
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[k].nan_to_num(7), theirs[k].nan_to_num(7)) for k in mine)


def test_a_float_model_comes_back_as_it_is() -> None:
    source, target = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Sequential()
    state = unpacked(packed_state(source))
    assert target.state_dict().keys() < state.keys()
    assert all(torch.equal(state[k], v) for k, v in source.state_dict().items())


def test_the_ends_of_the_levels_come_back_as_the_range() -> None:
    source, target = make_net(symmetric=False), fresh_net()
    target.load_state_dict(packed_state(source))
    pairs = [
        *zip(source.weight_quantizers().values(), target.weight_quantizers().values(), strict=True)
    ]
    pairs += zip(source.sites.values(), target.sites.values(), strict=True)
    for mine, theirs in pairs:
        assert isinstance(mine, UniformQuantizer)
        low, high = mine.scheme.bounds
        torch.testing.assert_close(theirs.range_low, (low - mine.zero_point) * mine.scale)
        torch.testing.assert_close(theirs.range_high, (high - mine.zero_point) * mine.scale)
        theirs.set_num_bits(theirs.scheme.num_bits)
        torch.testing.assert_close(theirs.scale, mine.scale)
        assert torch.equal(theirs.zero_point, mine.zero_point)


@pytest.mark.parametrize("loader", LOADERS)
def test_load_hooks_see_their_modules_versions(loader: str) -> None:
    source, target = make_net(), fresh_net()
    source.net.norm._version = 5
    seen = {}

    def see(module: nn.Module, state: Any, name: str, metadata: dict[str, Any], *_: Any) -> None:
        seen[name] = metadata.get("version")

    for module in target.modules():
        module._register_load_state_dict_pre_hook(see, with_module=True)
    LOADERS[loader](target, packed_state(source))
    assert seen["net.norm."] == 5
    assert {seen[name] for name in ("", "net.", "net.levels.")} == {1}


@torch.no_grad()
def test_inside_another_module() -> None:
    source, target = make_net(), nn.ModuleDict({"wrapped": fresh_net()})
    target.load_state_dict({f"wrapped.{PACKED_KEY}": packed_state(source)[PACKED_KEY]})
    x = gaussian(2, 3, 8, 8)
    assert torch.equal(target["wrapped"](x), source(x))


def entry(header: Any, form: str) -> list[Any]:
    """The first tensor that is stored in a form."""
    return next(e for own in header["tensors"].values() for e in own.values() if e[2] == form)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.pop("versions"),
        lambda h: entry(h, "raw").pop(),
        lambda h: entry(h, "raw").__setitem__(0, "float33"),
        lambda h: entry(h, "raw").__setitem__(2, "poem"),
        lambda h: entry(h, "raw").__setitem__(3, 10**9),
        lambda h: entry(h, "raw").__setitem__(1, [10**9]),
        lambda h: entry(h, "text").__setitem__(4, 9),
        lambda h: entry(h, "codes").__setitem__(3, -4),
        lambda h: h["tensors"]["net.out.weight_quantizer"].pop("scale"),
    ],
)
def test_a_header_that_makes_no_sense(change: Any) -> None:
    header, payload = unseal(packed_state(make_net())[PACKED_KEY])
    change(header)
    with pytest.raises(CheckpointError, match="packed checkpoint is damaged"):
        fresh_net().load_state_dict({PACKED_KEY: seal(header, np.array(payload).tobytes())})


def test_a_model_of_another_build(make_quantized: Make, make_wrapped: Make) -> None:
    state = packed_state(make_quantized("retinanet", **W4))
    with pytest.raises(CheckpointError, match="from a RetinaNet, the config builds a FasterRCNN"):
        make_wrapped("faster_rcnn").load_state_dict(state)
