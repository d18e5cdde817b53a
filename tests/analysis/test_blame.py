"""The quantizer that was spoilt is found, and the option that is printed spares it."""

from dataclasses import replace
from typing import Any

import torch

from mmptq.analysis.blame import find_blame, overrides
from mmptq.models import QConfig
from tests.calibration_support import MakeContext, make_context

__all__ = ["make_context"]

W8A8: dict[str, Any] = dict(weight=dict(num_bits=8), act=dict(num_bits=8))


def spoil(context: Any, name: str) -> None:
    """Let the input of a layer be cut off at a hundredth of its range."""
    quantizer = context.model.sites[f"{name}:0"]
    quantizer.set_range(quantizer.range_low * 0.01, quantizer.range_high * 0.01)


def test_the_worst_come_first_and_the_model_is_left_as_it_was(make_context: MakeContext) -> None:
    context = make_context("retinanet", qconfig=W8A8)
    spoil(context, "backbone.layer2.0.conv2")
    state = {key: value.clone() for key, value in context.model.state_dict().items()}
    worst = find_blame(context, images=1, worst=3)
    assert len(worst) == 3
    assert worst[0].layers == ("backbone.layer2.0.conv2",) and worst[0].which == "act"
    assert worst[0].error > 10 * worst[1].error > 0
    assert worst[0].describe().startswith("input of backbone.layer2.0.conv2: 8 bit, range ")
    assert all(q.enabled for q in context.model.sites.values())
    assert all(torch.equal(v, state[k]) for k, v in context.model.state_dict().items())


def test_a_shared_tensor_names_all_its_readers(make_context: MakeContext) -> None:
    context = make_context("retinanet", qconfig=W8A8)
    shared = next(
        site for site in context.model.sites if site.startswith("bbox_head.cls_convs.0.conv")
    )
    quantizer = context.model.sites[shared]
    quantizer.set_range(quantizer.range_low * 0.01, quantizer.range_high * 0.01)
    (worst,) = find_blame(context, images=1, worst=1)
    assert set(worst.layers) >= {"bbox_head.cls_convs.0.conv", "bbox_head.reg_convs.0.conv"}


def test_the_option_keeps_them_in_more_bits(make_context: MakeContext) -> None:
    context = make_context("retinanet", qconfig=W8A8)
    spoil(context, "backbone.layer2.0.conv2")
    worst = find_blame(context, images=1, worst=2)
    qconfig = QConfig.parse({**W8A8, "overrides": overrides(worst, context.model.plan)})
    weight, act = qconfig.resolve("backbone.layer2.0.conv2", ())
    assert act is not None and act.num_bits == 16
    assert weight is not None and weight.per_channel


def test_an_output_gets_more_bits_by_its_own_name(make_context: MakeContext) -> None:
    """Where the output of each call has a quantizer, or of some calls alone."""
    qconfig = {**W8A8, "target": "onnxruntime"}
    context = make_context("retinanet", qconfig=qconfig)
    spoil(context, "backbone.layer2.0.conv2.output")
    (worst,) = find_blame(context, images=1, worst=1)
    assert worst.layers == ("backbone.layer2.0.conv2.output",) and worst.which == "act"
    plan = context.model.plan
    assert plan is not None
    more = overrides([worst], plan)
    other = context.adapter.plan(QConfig.parse({**qconfig, "overrides": more}))
    bits = {site.name: site.spec.num_bits for site in other.sites}
    assert bits["backbone.layer2.0.conv2.output:0"] == 16
    assert bits["backbone.layer2.0.downsample.0.output:0"] == 8
    layers = tuple(
        replace(x, inputs=(None, *x.inputs)) if x.name == worst.layers[0] else x
        for x in plan.layers
    )
    assert overrides([worst], replace(plan, layers=layers)) == more
