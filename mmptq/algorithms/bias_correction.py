"""Gives quantized layers back the means of their weights, or of their outputs."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmptq.algorithms.base import Step
from mmptq.algorithms.reconstruction.checks import check_ranges
from mmptq.engine import CalibrationContext
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.units.mean_errors import MeanError
from mmptq.engine.units.walk import NetworkWalk
from mmptq.engine.units.waves import waves
from mmptq.errors import ConfigError, NumericalError
from mmptq.models import OUTPUT, QuantModel
from mmptq.modules import QuantLayer, QuantOperand
from mmptq.registry import STEPS

MODES = ("weights", "measured")


@STEPS.register_module()
class BiasCorrection(Step):
    """Shifts each output channel to its float mean.

    ``mode='weights'`` shifts the channels of every quantized weight (Banner et al. 2019). The step
    switches this on; it is computed from the weight and its quantizer wherever the quantized weight
    is. So it may stand anywhere in a recipe: before a search, it is active during the search; after
    one, it is applied to what was found. The checkpoint holds the switch.

    ``mode='measured'`` adds to the bias of each layer the mean, over the calibration images and all
    positions, of what its output lacks, layer after layer in the order of execution, with all
    before it quantized and corrected (Nagel et al. 2021, section 3.3.1). It is measured with the
    ranges as they are: it stands behind the steps that set them, and behind those that round
    weights, whose own corrections it replaces. The checkpoint holds the corrections.
    Operands of a product of two activations have no bias, and stay as they are.

    Args:
        norm: With ``mode='weights'``, scale each channel around its mean to the norm of the float
            channel, too.
        mode: ``'weights'`` or ``'measured'``.
        cache_gb: With ``mode='measured'``, memory in GiB for activations; the rest spills to the
            work directory.

    Raises:
        ConfigError: An argument that cannot work.
    """

    def __init__(self, norm: bool = False, mode: str = "weights", cache_gb: float = 2.0) -> None:
        if not isinstance(norm, bool):
            raise ConfigError(f"BiasCorrection.norm = {norm!r}: must be True or False")
        if mode not in MODES:
            raise ConfigError(f"BiasCorrection.mode = {mode!r}: must be one of {', '.join(MODES)}")
        if norm and mode == "measured":
            raise ConfigError(
                "BiasCorrection.norm = True: a measured correction is of the mean alone; set "
                "mode='weights' or leave norm out"
            )
        if isinstance(cache_gb, bool) or not isinstance(cache_gb, int | float) or not cache_gb > 0:
            raise ConfigError(f"BiasCorrection.cache_gb = {cache_gb!r}: must be a number above 0")
        self.norm, self.mode, self.cache_gb = norm, mode, cache_gb
        # Theirs are the means that a weight is shifted to.
        self.needs_float_weights = mode == "weights"

    def run(self, context: CalibrationContext) -> None:
        """Correct every quantized layer.

        Raises:
            ConfigError: A correction is to be measured, and a quantizer has no range.
            NumericalError: An output of a layer is not finite.
        """
        if self.mode == "measured":
            check_ranges(context.model, "BiasCorrection(mode='measured')")
            self._measure(context)
            return
        for _, layer in context.model.quant_layers():
            if layer.weight_quantizer is not None:
                layer.set_weight_correction("mean_norm" if self.norm else "mean")

    @torch.no_grad()
    def _measure(self, context: CalibrationContext) -> None:
        model = context.model.eval()
        model.forget_bias_corrections()
        layers = _correctable(model)
        graph = call_graph(model, context.adapter)
        walk = NetworkWalk(context, graph, self.cache_gb / 2)
        groups = list(waves(graph, list(layers)))
        for i in context.track(range(len(groups)), "BiasCorrection: groups of layers", len(groups)):
            group = {name: layers[name] for name in groups[i]}
            ahead = [name for later in groups[i + 1 :] for name in later]
            for name, mean in _mean_errors(context, walk, group, ahead).items():
                if not bool(mean.isfinite().all()):
                    raise NumericalError(f"{name}: its outputs on the calibration images overflow")
                group[name].set_bias_correction(mean)


def _correctable(model: QuantModel) -> dict[str, QuantLayer]:
    """Layers with a bias, or room for one, that compute with a quantizer; in their order."""
    found = dict(model.quant_layers())
    assert model.plan is not None
    quantized = [p.name for p in model.plan.layers if p.weight is not None or any(p.inputs)]
    return {n: found[n] for n in quantized if not isinstance(found[n], QuantOperand)}


def _mean_errors(
    context: CalibrationContext,
    walk: NetworkWalk,
    layers: Mapping[str, QuantLayer],
    ahead: list[str],
) -> dict[str, Tensor]:
    """What the mean output of each of ``layers`` lacks; ``ahead`` are those still to come."""
    # By what is watched: what reads a layer's output, where there is one, sees it before its ReLU.
    found = {name: MeanError(layer, context.data.num_images) for name, layer in layers.items()}
    at = {name: name if x.output is None else f"{name}.{OUTPUT}" for name, x in layers.items()}
    errors = {at[name]: error for name, error in found.items()}
    walk.see_float({name: error.add_float() for name, error in errors.items()}, ahead)
    unfinished = [*layers, *ahead]
    walk.see_quantized({name: error.add_quantized() for name, error in errors.items()}, unfinished)
    return {name: error.mean() for name, error in found.items()}
