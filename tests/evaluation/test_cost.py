import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmptq.adapters import Adapter, find_adapter
from mmptq.classifiers import CifarResNet
from mmptq.evaluation import model_cost, nominal_shape, profile_model
from mmptq.models import LayerPlan, Plan, QConfig, QuantModel, SitePlan, TensorSpec


class Toy(nn.Module):
    """conv -> norm -> head (two calls)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image):
        x = self.norm(self.conv(image)).relu()
        return self.head(x), self.head(x[..., ::2, ::2])


class ToyAdapter(Adapter):
    @classmethod
    def handles(cls, model):
        return isinstance(model, Toy)

    def raw_outputs(self, image):
        return self.model(image)


CONV_MACS = 8 * 6 * 4 * 3 * 9
HEAD_MACS = (8 * 6 * 2 * 4, 4 * 3 * 2 * 4)
FLOAT_NUMEL = 108 + 17 + 8 + 2


def plan(conv, head, sites, folds=(("conv", "norm"),), head_inputs=("head:0", "head:1")):
    layers = (
        LayerPlan("conv", "Conv2d", ("backbone", "first"), conv, ("conv:0",)),
        LayerPlan("head", "Conv2d", ("head", "last"), head, head_inputs),
    )
    return Plan(
        "Toy",
        "full",
        folds,
        layers,
        tuple(SitePlan(n, n[:4], s, ((n[:4], int(n[-1])),)) for n, s in sites.items()),
    )


def test_float_cost_by_hand():
    cost = model_cost(profile_model(ToyAdapter(Toy()), (8, 6)))
    assert cost.macs == CONV_MACS + sum(HEAD_MACS)
    assert cost.bops == cost.macs * 32 * 32
    assert cost.float_bytes == cost.packed_bytes == 4 * FLOAT_NUMEL
    assert cost.gbops == pytest.approx(cost.macs * 1024 / 1e9)
    assert cost.size_mb == pytest.approx(4 * FLOAT_NUMEL / 1e6)
    assert not any(layer.quantized for layer in cost.layers)


def test_quantized_cost_by_hand():
    p = plan(
        conv=TensorSpec(8, symmetric=True, per_channel=True),
        head=TensorSpec(4, symmetric=False, per_channel=False),
        sites={
            "conv:0": TensorSpec(8, symmetric=True),
            "head:0": TensorSpec(4, symmetric=False),
            "head:1": TensorSpec(6, symmetric=False),
        },
    )
    cost = model_cost(profile_model(ToyAdapter(Toy()), (8, 6)), p)
    bops = CONV_MACS * 8 * 8 + HEAD_MACS[0] * 4 * 4 + HEAD_MACS[1] * 4 * 6
    assert cost.bops == bops
    weights = (108 * 1 + 4 * 4) + (8 * 0.5 + 8)  # codes + steps (and zero points)
    sites = 4 + 8 + 8
    biases = 4 * (4 + 2)  # the folded norm has become a bias of the convolution
    assert cost.packed_bytes == weights + sites + biases
    assert cost.float_bytes == 4 * FLOAT_NUMEL
    assert all(layer.quantized for layer in cost.layers)


def test_float_operands_cost_32_bits():
    p = plan(
        conv=None,
        head=TensorSpec(2.5, symmetric=True),
        sites={"conv:0": TensorSpec(8, symmetric=True)},
        folds=(),
        head_inputs=(None,),
    )
    cost = model_cost(profile_model(ToyAdapter(Toy()), (8, 6)), p)
    assert cost.bops == CONV_MACS * 32 * 8 + sum(HEAD_MACS) * 2.5 * 32
    assert cost.packed_bytes == 4 * (FLOAT_NUMEL - 8) + (8 * 2.5 / 8 + 4) + 4
    assert not any(layer.quantized for layer in cost.layers)


def test_a_plan_of_another_number_of_calls():
    spec = TensorSpec(8, symmetric=True)
    sites = {"conv:0": spec, "head:0": spec, "head:1": spec, "head:2": spec}
    wrong = plan(spec, spec, sites, head_inputs=("head:0", "head:1", "head:2"))
    with pytest.raises(ValueError, match="head runs 2 times .* 3 times in the plan"):
        model_cost(profile_model(ToyAdapter(Toy()), (8, 6)), wrong)


def test_the_prepared_model_costs_what_the_float_model_was_said_to():
    model = Toy().eval()
    profile = profile_model(ToyAdapter(model), (8, 6))
    wrapper = QuantModel(model, "detector")
    made = ToyAdapter(model).plan(
        QConfig.parse(dict(weight=dict(num_bits=3), act=dict(num_bits=4, symmetric=True)))
    )
    wrapper.prepare(made)
    prepared = profile_model(ToyAdapter(wrapper.model), (8, 6))
    assert model_cost(prepared, made).packed_bytes == model_cost(profile, made).packed_bytes
    assert model_cost(prepared, made).bops == model_cost(profile, made).bops
    assert [layer.kind for layer in prepared.layers] == ["Conv2d", "Conv2d"]
    # The packed bytes from the tensors that are really there.
    layers = dict(wrapper.quant_layers())
    stored = sum(
        q.num_bits.item() * layers[name].weight.numel() / 8 + 4 * q.scale.numel()
        for name, q in wrapper.weight_quantizers().items()
    )
    stored += sum(4 * layer.bias.numel() for layer in layers.values())
    stored += sum(4 * site.scale.numel() for site in wrapper.sites.values())
    assert model_cost(prepared, made).packed_bytes == stored


def demo_detector(name):
    cfg = Config.fromfile(f"configs/demo/_base_/{name}_digits.py")
    with DefaultScope.overwrite_default_scope("mmdet"):
        return cfg, MODELS.build(cfg.model).eval()


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_demo_detectors(name):
    torch.manual_seed(0)
    cfg, model = demo_detector(name)
    adapter = find_adapter(model)
    profile = profile_model(adapter, nominal_shape(cfg))
    assert profile.input_shape == (160, 160)
    cost = model_cost(profile)
    layers = {layer.name: layer for layer in cost.layers}
    assert layers["backbone.conv1"].macs == 80 * 80 * 16 * 3 * 49
    assert cost.float_bytes == 4 * sum(t.numel() for t in [*model.parameters(), *model.buffers()])
    quarter = adapter.plan(QConfig.parse(dict(weight=dict(num_bits=8), act=dict(num_bits=8))))
    packed = model_cost(profile, quarter)
    assert packed.bops == pytest.approx(cost.bops / 16)
    assert 3.7 < cost.float_bytes / packed.packed_bytes < 4.0
    if name == "retinanet":
        strides = cfg.model.bbox_head.anchor_generator.strides
        pixels = sum(math.ceil(160 / stride) ** 2 for stride in strides)
        assert layers["bbox_head.cls_convs.0.conv"].calls == len(strides)
        assert layers["bbox_head.cls_convs.0.conv"].macs == pixels * 64 * 64 * 9
    else:
        # As many rows as the config lets regions through.
        rois, head = cfg.model.test_cfg.rpn.max_per_img, cfg.model.roi_head.bbox_head
        inputs = head.in_channels * head.roi_feat_size**2
        assert (
            layers["roi_head.bbox_head.shared_fcs.0"].macs == rois * inputs * head.fc_out_channels
        )


def test_an_operand_of_an_addition_costs_nothing() -> None:
    """A shortcut that is read through a quantizer: no weight, no product."""
    model = CifarResNet(depth=8)
    adapter = find_adapter(model)
    qconfig = QConfig.parse(dict(weight=dict(num_bits=4), act=dict(num_bits=4)))
    cost = model_cost(profile_model(adapter, (32, 32)), adapter.plan(qconfig))
    shortcuts = [layer for layer in cost.layers if layer.name.endswith("shortcut")]
    assert len(shortcuts) == 3
    for layer in shortcuts:
        assert (layer.macs, layer.bops, layer.weight_bytes, layer.input_bits) == (0, 0, 0, (4.0,))
        assert layer.quantized
