"""What a reconstruction compares with is the float model, whatever happened to the weights."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from mmptq.algorithms import GPTQ
from mmptq.engine.incremental.probing import float_form
from tests.calibration_support import MakeContext, make_context
from tests.steps_support import SMALL, make_step, run, state, summary

__all__ = ["make_context"]


@pytest.mark.parametrize("method", ["adaround", "brecq", "shrink", "rounded"])
def test_the_float_form_stays_the_float_model(
    make_context: MakeContext, method: str, raw: Any, image: Tensor
) -> None:
    context = make_context("retinanet")
    with float_form(context.model):
        before = raw(context.model, image)
    start = state(context)
    run(context, make_step(method))
    weights = [key for key in start if key.endswith("conv1.weight")]
    assert any(not torch.equal(start[key], state(context)[key]) for key in weights)
    with float_form(context.model):
        after = raw(context.model, image)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@torch.no_grad()
def test_learned_steps_compare_with_the_float_model(make_context: MakeContext) -> None:
    """Behind rounded weights, too: a unit's loss is what its output lacks of the float model's."""
    context, name = make_context("retinanet", qconfig=SMALL), "neck.lateral_convs.2"
    GPTQ().run(context)
    corrections = [layer.bias_correction for _, layer in context.model.quant_layers()]
    outputs: list[list[Tensor]] = [[], []]
    for seen, quantizers in zip(outputs, (nullcontext(), float_form(context.model)), strict=True):
        layer = context.model.model.get_submodule(name)
        handle = layer.register_forward_hook(lambda *args, seen=seen: seen.append(args[2]))
        with quantizers:
            for _, batch in context.data:
                data = context.adapter.preprocess(batch, False)
                context.model.start_pass()
                context.model.model.extract_feat(data["inputs"])
        handle.remove()
    losses = [(a - b).square().sum(1).mean() for a, b in zip(*outputs, strict=True)]
    step = make_step("learned_steps", iters=1, lr_step=1e-9)
    run(context, step)
    before = {unit["name"]: unit["before"] for unit in summary(context, step)}[name]
    assert before == pytest.approx(float(sum(losses[:2]) / 2), rel=1e-4)
    # Weights stay, and so does what was measured with them.
    after = [layer.bias_correction for _, layer in context.model.quant_layers()]
    assert all(a is b for a, b in zip(corrections, after, strict=True))
