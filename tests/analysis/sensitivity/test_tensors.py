"""Every quantizer once, with its readers and what they multiply."""

import pytest

from mmptq.analysis.sensitivity.tensors import quantized_tensors
from mmptq.evaluation import profile_model
from tests.calibration_support import MakeContext, make_context  # noqa: F401


@pytest.mark.parametrize("family", ["retinanet", "faster_rcnn"])
def test_all_quantizers_and_their_multiplications(
    family: str,
    make_context: MakeContext,  # noqa: F811
) -> None:
    context = make_context(family)
    model = context.model
    profile = profile_model(context.adapter, (128, 128))
    macs = {layer.name: layer.macs for layer in profile.layers}
    tensors = quantized_tensors(model, macs)
    quantizers = [*model.sites.values(), *model.weight_quantizers().values()]
    assert {t.quantizer for t in tensors} == set(quantizers) and len(tensors) == len(quantizers)
    assert len({t.name for t in tensors}) == len(tensors)
    # What is multiplied is read once, and by one weight.
    total = sum(sum(counts) for counts in macs.values())
    for which in ("weight", "act"):
        assert sum(t.macs for t in tensors if t.which == which) == total
    by_name = {t.name: t for t in tensors}
    assert by_name["backbone.conv1.weight"].stage == "stem"
    assert by_name["backbone.conv1.act"].layers == ("backbone.conv1",)


def test_calls_of_a_shared_head_are_apart(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet")
    macs = {"bbox_head.cls_convs.0.conv": (16, 8, 4, 2, 1)}
    tensors = {t.name: t for t in quantized_tensors(context.model, macs)}
    shared = tensors["bbox_head.cls_convs.0.conv:1.act"]
    assert shared.layers == ("bbox_head.cls_convs.0.conv", "bbox_head.reg_convs.0.conv")
    assert shared.stage == "head" and shared.macs == 8
    assert tensors["bbox_head.cls_convs.0.conv.weight"].macs == 31


def test_without_a_range_it_is_no_quantizer(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("retinanet", ranges=False)
    assert quantized_tensors(context.model, {}) == []
