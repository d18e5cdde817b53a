"""Ranges of a finished quantized model, given to the float weights that it was made from."""

from mmptq.errors import CheckpointError
from mmptq.models import QuantModel

# Rounding, however coarse or clever, moves weights by less than their own length.
_OTHER_WEIGHTS = 1.0


def take_ranges(model: QuantModel, source: QuantModel, path: str) -> None:
    """Give each quantizer of ``model`` the range and bits that it has in ``source``, switched on.

    Weights stay: what a recipe did to them by GPTQ or reconstruction is not part of it, and each is
    rounded to nearest.

    Args:
        model: Prepared by the plan of ``source``, with the float weights.
        source: The quantized model.
        path: Where it comes from, for the message.

    Raises:
        CheckpointError: Its weights are not these ones, rounded in some way.
    """
    _check_same_weights(model, source, path)
    for name, quantizer in source.sites.items():
        model.sites[name].load_state_dict(quantizer.state_dict())
    weights = model.weight_quantizers()
    for name, quantizer in source.weight_quantizers().items():
        weights[name].load_state_dict(quantizer.state_dict())
    model.enable_quantizers(weights=True, activations=True)


def _check_same_weights(model: QuantModel, source: QuantModel, path: str) -> None:
    others = dict(source.quant_layers())
    for name, layer in model.quant_layers():
        if layer.weight.numel() == 0:  # an operand of a product of activations
            continue
        distance = float((layer.weight - others[name].weight).detach().norm())
        if distance > _OTHER_WEIGHTS * float(layer.weight.detach().norm()):
            raise CheckpointError(
                f"{path}: the weight of {name!r} is another one than that of the float weights "
                "(load_from), so its ranges do not fit; give the float weights that it was made "
                "from by --cfg-options load_from=FILE (of an equalized model no ranges fit)"
            )
