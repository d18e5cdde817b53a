"""A unit of a small detector, ready to be reconstructed."""

from torch import nn

from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.units.capture import UnitCapture
from mmptq.engine.units.unit_data import CacheSettings
from mmptq.engine.units.unit_problem import TrainedForm, UnitProblem
from mmptq.engine.units.units import find_units
from mmptq.quantizers import LearnedStepQuantizer
from tests.calibration_support import MakeContext


def prepared(make_context: MakeContext, name: str, unit_name: str) -> tuple[UnitProblem, nn.Module]:
    """Problem of a unit, all steps learnable, and the model it belongs to."""
    context = make_context(name)
    graph = call_graph(context.model, context.adapter)
    units = find_units(context.model, context.adapter, graph, "block")
    capture = UnitCapture(context, units, graph, CacheSettings())
    index = [unit.name for unit in units].index(unit_name)
    data = capture.float_data(index)
    capture.add_quantized(index, data)
    found = dict(context.model.quant_layers())
    unit = units[index]
    weights = {n: LearnedStepQuantizer(found[n].weight_quantizer) for n in unit.layers}
    acts = {n: LearnedStepQuantizer(context.model.sites[n]) for n in unit.sites}
    form = TrainedForm(context.model, unit, weights, acts)
    module = context.adapter.model.get_submodule(unit_name)
    return UnitProblem(module, unit, form, data), context.model
