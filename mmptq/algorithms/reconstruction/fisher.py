"""The diagonal of the Fisher information at a unit's output."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmptq.engine.context import CalibrationContext
from mmptq.engine.incremental.probing import float_form
from mmptq.engine.units.unit_data import FLOAT_OUT, WEIGHT, UnitData
from mmptq.engine.units.units import Unit
from mmptq.models.trace import flatten_tensors

_RAW = "raw_weight"  # before it is scaled


def add_fisher_weights(
    context: CalibrationContext, unit: Unit, data: UnitData, frozen: Mapping[int, Any]
) -> None:
    r"""Capture :math:`(\partial L / \partial y)^2` of the task loss :math:`L` for each image.

    Scaled to the mean 1 over all images and elements, so that learning rates and the weight of a
    regularizer mean the same with and without it. The gradients are those of the float model.

    Args:
        context: Images must have labels.
        unit: At whose output.
        data: Gets the weights.
        frozen: What the adapter holds fixed for each image, with labels.
    """
    model, adapter = context.model, context.adapter
    module = adapter.model.get_submodule(unit.name)
    total, count = 0.0, 0
    image = 0
    for position, batch in context.data:
        batch = adapter.preprocess(batch, with_labels=True)
        inputs, outputs = batch["inputs"], list[Tensor]()
        handle = module.register_forward_hook(_grab(outputs))
        try:
            with float_form(model), torch.enable_grad():
                model.start_pass()
                losses = adapter.loss(inputs, frozen[position])
                terms = [losses[key] for key in sorted(losses) if "loss" in key]
                loss = torch.stack([t.mean() for t in flatten_tensors(terms)]).sum()
        finally:
            handle.remove()
        grads = torch.autograd.grad(loss, outputs, allow_unused=True)
        for call, (grad, output) in enumerate(zip(grads, outputs, strict=True)):
            # A batch's loss is the mean over its images.
            square = torch.zeros_like(output) if grad is None else (len(inputs) * grad).square()
            total, count = total + float(square.double().sum()), count + square.numel()
            for offset, part in enumerate(square.chunk(len(inputs))):
                parts = data.parts(WEIGHT, image + offset, call, part)
                # Copies: a crop would hold the whole map.
                parts = [crop if crop is part else crop.clone() for crop in parts]
                data.store.put((_RAW, image + offset, call), parts)
        image += len(inputs)
    sums = torch.tensor([total, count], dtype=torch.float64)
    all_reduce(sums)  # one scale for all processes
    mean = float(sums[0] / sums[1].clamp(min=1.0))
    for image, call in list(data.calls(FLOAT_OUT)):
        if image >= data.num_images:  # a further crop
            continue
        squares = data.store.get((_RAW, image, call))
        parts = [square / mean if mean else torch.ones_like(square) for square in squares]
        data.put_parts(WEIGHT, image, call, parts)
        data.store.drop((_RAW, image, call))


def _grab(outputs: list[Tensor]) -> Any:
    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        outputs.append(leaf)
        # A copy goes on: somebody may write to it, which a leaf forbids.
        return leaf.clone()

    return hook
