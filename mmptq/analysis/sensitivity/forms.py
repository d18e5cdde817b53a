"""Forms of a model's quantizers: as they are, or at other bit-widths."""

import copy
from collections.abc import Mapping, Sequence

from mmptq.algorithms.range_calibration import set_range
from mmptq.engine import CalibrationContext
from mmptq.models import QuantModel
from mmptq.observers import Observer, WeightStatistics
from mmptq.quantizers import UniformQuantizer

# By site or layer, as in QuantModel.sites and QuantModel.weight_quantizers; a name is in one only.
Forms = Mapping[str, Sequence[UniformQuantizer]]


def own_forms(model: QuantModel) -> dict[str, list[UniformQuantizer]]:
    """Every quantizer that has a range, as it stands."""
    named = {**model.sites, **model.weight_quantizers()}
    return {name: [_switched_on(q)] for name, q in named.items() if q.calibrated}


def forms_at(
    context: CalibrationContext, bits: Sequence[float], weight: Observer, act: Observer
) -> dict[str, list[UniformQuantizer]]:
    """Every quantizer at several bit-widths, each with the range that an observer finds for it.

    One call of :func:`second_order` then serves all of them: what costs is the passes.

    Args:
        context: Its model is left as it is.
        bits: Bit-widths of weights and activations.
        weight: Observer of the weights.
        act: Observer of the activations.
    """
    statistics, layers = context.activation_statistics(), dict(context.model.quant_layers())
    forms: dict[str, list[UniformQuantizer]] = {}
    for name, quantizer in context.model.sites.items():
        forms[name] = [_switched_on(quantizer) for _ in bits]
        for form, num_bits in zip(forms[name], bits, strict=True):
            form.set_num_bits(num_bits)
            set_range(form, act, statistics[name])
    for name, quantizer in context.model.weight_quantizers().items():
        stats = WeightStatistics(layers[name].weight.detach(), quantizer.ch_axis)
        forms[name] = [_switched_on(quantizer) for _ in bits]
        for form, num_bits in zip(forms[name], bits, strict=True):
            form.set_num_bits(num_bits)
            set_range(form, weight, stats)
    return forms


def _switched_on(quantizer: UniformQuantizer) -> UniformQuantizer:
    form = copy.deepcopy(quantizer)
    form.enabled = True
    return form
