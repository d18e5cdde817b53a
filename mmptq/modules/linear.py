"""Quantized fully connected layer."""

from torch import nn

from mmptq.modules.layer import QuantLayer


class QuantLinear(QuantLayer, nn.Linear):
    """``nn.Linear`` on a quantized input with a quantized weight; the bias stays float.

    Input ``(..., in_features)``, output ``(..., out_features)``.
    """
