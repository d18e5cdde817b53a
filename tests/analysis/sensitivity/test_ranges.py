"""Ranges of a quantized model for the float weights that it was made from."""

import pytest
import torch

from mmptq.analysis.sensitivity.ranges import take_ranges
from mmptq.errors import CheckpointError
from tests.calibration_support import MakeContext, make_context  # noqa: F401


def test_ranges_are_taken_and_weights_stay(make_context: MakeContext) -> None:  # noqa: F811
    source = make_context("retinanet").model
    quantizer = source.weight_quantizers()["neck.fpn_convs.0.conv"]
    quantizer.set_num_bits(6)
    layer = dict(source.quant_layers())["neck.fpn_convs.0.conv"]
    with torch.no_grad():
        layer.weight.copy_(layer.quantized_weight())  # as GPTQ leaves them
    model = make_context("retinanet", folder="b", ranges=False).model
    weights = {name: layer.weight.clone() for name, layer in model.quant_layers()}
    take_ranges(model, source, "quantized.pth")
    assert model.weight_quantizers()["neck.fpn_convs.0.conv"].scheme.num_bits == 6
    for name, site in source.sites.items():
        taken = model.sites[name]
        assert taken.enabled and taken.scheme == site.scheme
        assert torch.equal(taken.scale, site.scale)
    assert all(torch.equal(layer.weight, weights[n]) for n, layer in model.quant_layers())


def test_a_checkpoint_of_other_weights_is_refused(make_context: MakeContext) -> None:  # noqa: F811
    source = make_context("retinanet").model
    model = make_context("retinanet", folder="b", ranges=False).model
    with torch.no_grad():
        dict(model.quant_layers())["neck.lateral_convs.1.conv"].weight.neg_()
    message = "quantized.pth: the weight of 'neck.lateral_convs.1.conv' is another one"
    with pytest.raises(CheckpointError, match=message):
        take_ranges(model, source, "quantized.pth")
    assert not any(site.enabled for site in model.sites.values())
