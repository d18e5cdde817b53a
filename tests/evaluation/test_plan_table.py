import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmptq.adapters import Adapter, find_adapter
from mmptq.evaluation import model_cost, plan_summary, plan_table, profile_model, render
from mmptq.models import QConfig, build_plan


@pytest.fixture(scope="module")
def retinanet():
    cfg = Config.fromfile("configs/demo/_base_/retinanet_digits.py")
    with DefaultScope.overwrite_default_scope("mmdet"):
        adapter = find_adapter(MODELS.build(cfg.model).eval())
    return adapter, adapter.trace(), profile_model(adapter, (160, 160))


def rows_of(text):
    return {line.split()[0]: line for line in text.splitlines() if line.split()}


def shown(retinanet, **qconfig):
    adapter, trace, profile = retinanet
    plan = build_plan(adapter.model, trace, QConfig.parse(qconfig))
    cost = model_cost(profile, plan)
    return plan, cost, render(plan_table(plan, cost), width=200)


def test_full_scope(retinanet):
    plan, cost, text = shown(retinanet, weight=dict(num_bits=4), act=dict(num_bits=4))
    rows = rows_of(text)
    assert {layer.name for layer in plan.layers} <= set(rows)
    assert "8 bit sym per channel" in rows["backbone.conv1"]
    assert "backbone first" in rows["backbone.conv1"]
    levels = len(retinanet[0].model.bbox_head.anchor_generator.strides)
    shared = f"4 bit affine, {levels} quantizers, shared with bbox_head.cls_convs.0.conv"
    assert shared in rows["bbox_head.reg_convs.0.conv"]
    executed = [layer for layer in cost.layers if layer.calls]
    total = f"{cost.macs / 1e6:.2f} M"
    assert f"{len(executed)} of {len(executed)} layers have quantized weights and inputs" in text
    assert f"100.0 % of {total} MACs" in text
    assert "at 160x160" in text
    assert f"{cost.float_size_mb:.2f} MB -> {cost.size_mb:.2f} MB" in text


def test_what_stays_float_is_listed(retinanet):
    overrides = [dict(pattern="neck.fpn_convs.0.conv", weight=None)]
    plan, cost, text = shown(
        retinanet, scope="backbone_neck", act=dict(num_bits=8), overrides=overrides
    )
    rows = rows_of(text)
    assert rows["bbox_head.retina_cls"].split()[2:6] == ["head", "last", "float", "float"]
    assert rows["neck.fpn_convs.0.conv"].split()[3:5] == ["float", "8"]
    line = next(x for x in plan_summary(plan, cost) if x.startswith("float operand"))
    heads = [layer.name for layer in plan.layers if "head" in layer.roles]
    expected = ["backbone.conv1", "neck.fpn_convs.0.conv", *heads]
    assert line.split(": ")[1:] == [str(len(expected)), ", ".join(expected)]


def test_the_target_and_what_it_does(retinanet):
    plan, _, text = shown(retinanet, act=dict(num_bits=4), target="onnxruntime")
    rows = rows_of(text)
    assert "8 bit affine; output 8 bit affine" in rows["backbone.conv1"]
    assert "4 bit affine; output 8 bit affine" in rows["backbone.layer1.0.conv2"]
    assert "output" not in rows["backbone.layer1.0.conv1"] + rows["bbox_head.retina_cls"]
    count = sum(layer.name.endswith(".output") for layer in plan.layers)
    line = f"target onnxruntime: quantized outputs of {count} layers, rounded biases in 49 calls"
    assert line in text and count == 16
    assert "target" not in shown(retinanet)[2]


def test_it_fits_80_columns(retinanet):
    plan, cost, _ = shown(retinanet)
    text = render(plan_table(plan, cost), width=80)
    assert max(map(len, text.splitlines())) <= 80


class Deformed(nn.Conv2d):
    """Has a weight matrix, but no quantized counterpart."""

    def forward(self, x):
        return super().forward(x) * 2


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.middle = Deformed(4, 4, 3)
        self.last = nn.Conv2d(4, 4, 1)
        self.aux = nn.Linear(2, 2)

    def forward(self, image):
        x = self.middle(self.first(image))
        return self.last(torch.einsum("nchw,cd->ndhw", x, torch.ones(4, 4)))


class ToyAdapter(Adapter):
    @classmethod
    def handles(cls, model):
        return isinstance(model, Toy)

    def raw_outputs(self, image):
        return self.model(image)


def test_layers_without_a_quantized_form_and_layers_that_never_ran():
    adapter = ToyAdapter(Toy())
    plan = adapter.plan(QConfig.parse({}))
    cost = model_cost(profile_model(adapter, (8, 8)), plan)
    lines = plan_summary(plan, cost)
    assert lines[0].startswith("scope full: 2 of 3 layers")
    assert "no quantized form, stays float: 1: middle (Deformed)" in lines
    assert "never ran, stays float: 1: aux" in lines
    assert "products beside the layers, stay float: 1: the detector (Toy)" in lines
    first, middle, last, product = 64 * 12, 36 * 4 * 36, 36 * 16, 36 * 16
    total = first + middle + last + product
    assert cost.macs == total and cost.mac_share == (first + last) / total
    shares = [f"{100 * macs / total:.1f} %" for macs in (middle, product)]
    assert lines[-1] == f"MACs in float: Deformed 1 layer {shares[0]}, products in Toy {shares[1]}"
    text = render(plan_table(plan, cost), width=120)
    assert "products in Toy" in text
    assert "float (no quantized form)" in text and "float (never ran)" in text
