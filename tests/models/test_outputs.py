"""Quantizers behind convolutions that something else than one quantizer reads."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmptq import ops
from mmptq.adapters import find_adapter
from mmptq.errors import ConfigError
from mmptq.models import LayerPlan, Plan, QConfig, build_plan
from mmptq.models.trace import flatten_tensors
from tests.calibration_support import W4A4, MakeContext, make_context  # noqa: F401
from tests.models.test_links import conv, run

ORT = dict(type="onnxruntime", quantize_outputs=True)
Make = Callable[[str], nn.Module]


class Net(nn.Module):
    """A stem and a pool, a residual block whose shortcut is a convolution, a predictor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.relu = conv(), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.a, self.b, self.short, self.last = conv(4), conv(4), conv(4), conv(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.relu(self.norm(self.stem(x))), 2)
        y = self.b(self.relu(self.a(x)))
        y += self.short(x)
        return self.last(self.relu(y))


def plan_of(model: nn.Module, bits: int = 8, target: Any = ORT, **cfg: Any) -> Plan:
    spec = dict(weight=dict(num_bits=bits), act=dict(num_bits=bits), target=target)
    return build_plan(model, run(model), QConfig.parse({**spec, **cfg}))


def outputs(plan: Plan) -> dict[str, LayerPlan]:
    return {layer.host: layer for layer in plan.layers if layer.host != layer.name}


def bits_of(plan: Plan) -> dict[str, list[float | None]]:
    sites = {site.name: site.spec.num_bits for site in plan.sites}
    return {x.name: [None if s is None else sites[s] for s in x.inputs] for x in plan.layers}


def test_what_pools_and_additions_read_is_quantized() -> None:
    plan = plan_of(Net().eval(), 4)
    found = outputs(plan)
    assert list(found) == ["stem", "b", "short"]
    assert found["stem"].kind == "quantized ReLU" and found["b"].kind == "quantized output"
    assert all(layer.weight is None and layer.roles == ("head",) for layer in found.values())
    assert {bits_of(plan)[f"{name}.output"][0] for name in found} == {8.0}
    names = [layer.name for layer in plan.layers]
    assert all(names.index(f"{name}.output") == names.index(name) + 1 for name in found)
    assert plan.int32_bias == tuple((n, 0) for n in ("a", "b", "short", "stem"))
    assert Plan.from_tensor(plan.to_tensor()) == plan


@pytest.mark.parametrize(
    "target", [None, "openvino", dict(type="generic"), {**ORT, "quantize_outputs": False}]
)
def test_only_where_it_is_asked_for(target: Any) -> None:
    assert outputs(plan_of(Net().eval(), target=target)) == {}


def test_other_activation_functions_read_floats() -> None:
    model = Net().eval()
    model.relu = nn.SiLU()
    assert list(outputs(plan_of(model))) == ["b", "short"]


def test_a_norm_that_stays() -> None:
    plan = plan_of(Net().eval(), fold_bn=False)
    assert list(outputs(plan)) == ["b", "short"] and ("stem", 0) not in plan.int32_bias


class Shared(nn.Module):
    """What a convolution writes is read by another, and by an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = conv(), conv(4), conv(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.last(x + self.b(x))


def test_a_tensor_has_one_quantizer_where_its_readers_have_equal_bits() -> None:
    for bits, shared in ((8, True), (4, False)):
        plan = plan_of(Shared().eval(), bits)
        reads = {layer.name: layer.inputs for layer in plan.layers}
        assert (reads["a.output"] == reads["b"]) is shared
        (site,) = (site for site in plan.sites if (site.name,) == reads["a.output"])
        assert site.owner == "a.output" and site.watch == (("a.output", 0),)
    lower = plan_of(Shared().eval(), 4, {**ORT, "output_bits": 4}, scope="lapq_paper")
    assert list(outputs(lower)) == ["b"]  # its first layer stays float
    assert bits_of(lower)["b.output"] == [4.0]


def test_calls_that_are_fused_already_get_none() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = conv(3, 3), conv(3, 3), conv(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(self.a(x)) + self.a(2 * x))

    plan = plan_of(Twice().eval())
    assert bits_of(plan)["a.output"] == [None, 8.0]
    assert {("a", 0), ("a", 1), ("b", 0)} == set(plan.int32_bias)

    class Unlike(Twice):
        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(self.a(x)) + self.a(2 * x).relu())

    assert list(outputs(plan_of(Unlike().eval()))) == ["b"]


def test_ranges_a_channel_are_computed_in_float_all_the_same() -> None:
    model = Net().eval()
    model.b = conv(4, groups=4)
    assert list(outputs(plan_of(model))) == ["stem", "short"]
    assert "b" in outputs(plan_of(model, act=dict(per_channel="none")))


def test_overrides_by_name() -> None:
    model = Net().eval()
    one = [dict(pattern="b.output", act=None), dict(pattern="*.output", act=dict(num_bits=6))]
    plan = plan_of(model, overrides=one)
    assert list(outputs(plan)) == ["stem", "short"] and ("b", 0) not in plan.int32_bias
    assert bits_of(plan)["short.output"] == [6.0] and bits_of(plan)["short"] == [8.0]
    whole = plan_of(model, 4, overrides=[dict(pattern="b*", act=dict(num_bits=5))])
    assert bits_of(whole)["b.output"] == [8.0] and bits_of(whole)["b"] == [5.0]
    with pytest.raises(ConfigError, match=r"'a.output' matches no quantizable layer"):
        plan_of(model, overrides=[dict(pattern="a.output", act=None)])
    floats = plan_of(model, overrides=[dict(pattern="b", act=None)])
    assert list(outputs(floats)) == ["stem", "short"]


def test_a_retinanet_fuses_all_but_its_predictions(make_detector: Make) -> None:
    model = make_detector("retinanet")
    for target, floats in (({**ORT, "quantize_outputs": False}, 25), (ORT, 10)):
        plan = find_adapter(model).plan(QConfig.parse({**W4A4, "target": target}))
        calls = sum(len(x.inputs) if "bbox" in x.name else 1 for x in plan.layers if x.weight)
        assert calls - len(plan.int32_bias) == floats
    left = {f"bbox_head.retina_{x}" for x in ("cls", "reg")}  # over 5 levels
    assert left.isdisjoint(name for name, _ in plan.int32_bias)


@torch.no_grad()
def test_additions_and_pools_read_what_the_quantizers_make(make_context: MakeContext) -> None:  # noqa: F811
    """The first pool and the first addition with a convolution beside it, computed by hand."""
    context = make_context("retinanet", qconfig={**W4A4, "target": ORT})
    backbone: Any = context.adapter.model.backbone
    sites, layers = context.model.sites, dict(context.model.quant_layers())
    image = context.adapter.trace_image()
    read: dict[str, Tensor] = {}
    backbone.maxpool.register_forward_pre_hook(lambda _, args: read.update(pool=args[0]))
    block = backbone.layer2[0]
    block.register_forward_hook(lambda _, args, y: read.update(x=args[0], y=y.clone()))
    context.model.start_pass()
    context.adapter.raw_outputs(image)

    def plain(name: str, x: Tensor) -> Tensor:
        layer: Any = copy.deepcopy(layers[name])
        layer.output = None
        layer.reset_calls()
        return layer(x)

    def coded(name: str, x: Tensor) -> Tensor:
        q = sites[f"{name}.output:0"]
        return ops.fake_quantize(x, q.scale, q.zero_point, *q.scheme.bounds, ch_axis=None)

    stem = coded("backbone.conv1", plain("backbone.conv1", image).relu())
    assert torch.equal(read["pool"], stem)
    x, at = read["x"], "backbone.layer2.0"
    inner = plain(f"{at}.conv2", plain(f"{at}.conv1", x).relu())
    short = coded(f"{at}.downsample.0", plain(f"{at}.downsample.0", x))
    assert torch.equal(read["y"], (coded(f"{at}.conv2", inner) + short).relu())


@torch.no_grad()
def test_reloads_to_the_same_bits(tmp_path: Path, make_context: MakeContext) -> None:  # noqa: F811
    qconfig = {**W4A4, "target": ORT}
    made, fresh = (make_context("retinanet", qconfig=qconfig, folder=f) for f in "ab")
    image, found = made.adapter.trace_image(), []
    with torch.no_grad():
        for quantizer in fresh.model.sites.values():
            quantizer.scale.mul_(2.0)
    torch.save(made.model.state_dict(), tmp_path / "quantized.pth")
    fresh.model.load_state_dict(torch.load(tmp_path / "quantized.pth", weights_only=True))
    for context in (made, fresh):
        context.model.start_pass()
        found.append(list(flatten_tensors(context.adapter.raw_outputs(image))))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
