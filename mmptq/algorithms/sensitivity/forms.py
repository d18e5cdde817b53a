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
    context: CalibrationContext,
    bits: Mapping[str, Sequence[float]],
    weight: Observer,
    act: Observer,
) -> dict[str, list[UniformQuantizer]]:
    """Quantizers at several bit-widths, each with the range that an observer finds for it.

    One call of :func:`second_order` then serves all of them: what costs is the passes.

    Args:
        context: Its model is left as it is.
        bits: Bit-widths of each site or layer's weight.
        weight: Observer of the weights.
        act: Observer of the activations.
    """
    model, statistics = context.model, context.activation_statistics()
    layers, sites, weights = dict(model.quant_layers()), model.sites, model.weight_quantizers()
    forms: dict[str, list[UniformQuantizer]] = {}
    for name, wanted in context.track(bits.items(), "ranges at all bit-widths", len(bits)):
        quantizer = sites[name] if name in sites else weights[name]
        forms[name] = [_switched_on(quantizer) for _ in wanted]
        for form, num_bits in zip(forms[name], wanted, strict=True):
            form.set_num_bits(num_bits)
            if name in sites:
                set_range(form, act, statistics[name])
            else:
                stats = WeightStatistics(layers[name].weight.detach(), form.ch_axis)
                set_range(form, weight, stats)
    return forms


def _switched_on(quantizer: UniformQuantizer) -> UniformQuantizer:
    form = copy.deepcopy(quantizer)
    form.enabled = True
    return form
