"""Parts of trainable forms that several methods use."""

from collections.abc import Iterator

from torch import Tensor

from mmptq.engine.units.reconstruction import Group
from mmptq.engine.units.unit_problem import TrainedForm
from mmptq.engine.units.units import Unit
from mmptq.models import QuantModel
from mmptq.quantizers import LearnedStepQuantizer, UniformQuantizer


def learned_steps(
    model: QuantModel, unit: Unit, drop_prob: float = 0.0
) -> dict[str, LearnedStepQuantizer]:
    """Trainable quantizers of all sites that the unit reads; its own ones learn.

    A site that an earlier unit was the first to read has its step already.
    """
    assert model.plan is not None
    read = {s for p in model.plan.layers if p.name in unit.layers for s in p.inputs if s}
    acts = {}
    for name in sorted(read):
        if model.sites[name].enabled:
            acts[name] = LearnedStepQuantizer(model.sites[name], learn=name in unit.sites)
            acts[name].drop_prob = drop_prob
    return acts


def step_group(form: TrainedForm, lr: float) -> Group:
    """All steps that learn."""
    return Group([q.log_gain for q in form.steps if q.log_gain.requires_grad], lr)


def weight_quantizers(
    model: QuantModel, unit: Unit
) -> Iterator[tuple[str, UniformQuantizer, Tensor]]:
    """Name, calibrated quantizer and weight of each quantized layer of a unit."""
    for name, layer in model.quant_layers():
        if name in unit.layers and layer.weight_quantizer is not None:
            yield name, layer.weight_quantizer, layer.weight
