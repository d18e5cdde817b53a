"""Gives quantized weights back the mean, and perhaps the norm, of each output channel."""

from mmptq.algorithms.base import Step
from mmptq.engine import CalibrationContext
from mmptq.errors import ConfigError
from mmptq.registry import STEPS


@STEPS.register_module()
class BiasCorrection(Step):
    """Shifts each output channel of every quantized weight to its float mean (Banner et al. 2019).

    The step switches the correction on; it is computed from the weight and its quantizer wherever
    the quantized weight is. So it may stand anywhere in a recipe: before a search, it is active
    during the search; after one, it is applied to what was found. The checkpoint holds the switch.

    Args:
        norm: Scale each channel around its mean to the norm of the float channel, too.

    Raises:
        ConfigError: ``norm`` is no bool.
    """

    def __init__(self, norm: bool = False) -> None:
        if not isinstance(norm, bool):
            raise ConfigError(f"BiasCorrection.norm = {norm!r}: must be True or False")
        self.mode = "mean_norm" if norm else "mean"

    def run(self, context: CalibrationContext) -> None:
        """Switch the correction of every layer with a quantized weight on."""
        for _, layer in context.model.quant_layers():
            if layer.weight_quantizer is not None:
                layer.set_weight_correction(self.mode)
