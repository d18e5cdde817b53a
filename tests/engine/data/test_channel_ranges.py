"""Ranges of single channels against the tensors themselves."""

from typing import Any

import torch

from mmptq.engine import channel_ranges, channel_statistics, float_form
from tests.calibration_support import MakeContext, make_context  # noqa: F401
from tests.transformer_support import MakeTransformer, make_transformer  # noqa: F401

LAYERS = ("neck.lateral_convs.0.conv", "roi_head.bbox_head.shared_fcs.0", "rpn_head.rpn_cls")


@torch.no_grad()
def test_the_largest_over_images_and_calls(make_context: MakeContext) -> None:  # noqa: F811
    context = make_context("faster_rcnn")
    layers: dict[str, Any] = dict(context.model.quant_layers())
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in LAYERS}
    handles = [
        layers[name].register_forward_pre_hook(
            lambda layer, args, name=name: seen[name].append(args[0].detach().clone())
        )
        for name in LAYERS
    ]
    with float_form(context.model):
        found = channel_ranges(context.model, LAYERS, context.data)
    for handle in handles:
        handle.remove()
    assert set(found) == set(LAYERS) and len(seen[LAYERS[2]]) == 2 * 5
    for name, inputs in seen.items():
        rows = [x.abs().movedim(1, 0).flatten(1).amax(1) for x in inputs]
        assert torch.equal(found[name], torch.stack(rows).amax(0)), name
    # A layer that divides is seen behind its division.
    factor = torch.full((found[LAYERS[0]].numel(),), 4.0)
    layers[LAYERS[0]].set_input_factor(factor)
    with float_form(context.model):
        again = channel_ranges(context.model, LAYERS[:1], context.data)
    assert torch.equal(again[LAYERS[0]], found[LAYERS[0]] / 4)
    assert not any(layer._forward_pre_hooks for layer in layers.values())


@torch.no_grad()
def test_statistics_of_tokens(make_transformer: MakeTransformer) -> None:  # noqa: F811
    context, name = make_transformer("vit"), "blocks.1.fc1"
    layers: dict[str, Any] = dict(context.model.quant_layers())
    seen: list[torch.Tensor] = []
    handle = layers[name].register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    with float_form(context.model):
        found = channel_statistics(context.model, [name], context.data)
    handle.remove()
    rows = torch.cat([x.flatten(0, 1) for x in seen])
    stats = found[name]
    assert found.keys() == {name} and stats.num_values == len(rows)
    assert torch.equal(stats.low, rows.amin(0)) and torch.equal(stats.high, rows.amax(0))
    assert torch.equal(stats.image_ranges()[1], torch.cat([x.amax(1) for x in seen]))
    assert not layers[name]._forward_pre_hooks
