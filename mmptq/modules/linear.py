"""Quantized fully connected layer."""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from mmptq.modules.layer import QuantLayer


class QuantLinear(QuantLayer, nn.Linear):
    """``nn.Linear`` on a quantized input with a quantized weight; the bias stays float.

    Input ``(..., in_features)``, output ``(..., out_features)``.
    """

    @classmethod
    def from_float(cls, linear: nn.Linear) -> "QuantLinear":
        """Make one that shares the parameters of ``linear``."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer.in_features, layer.out_features = linear.in_features, linear.out_features
        layer.training = linear.training
        layer.register_parameter("weight", cast(nn.Parameter, linear.weight))
        layer.register_parameter("bias", cast("nn.Parameter | None", linear.bias))
        layer._init_quantizers()
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Compute with what the quantizers make of ``x`` and the weight."""
        return F.linear(self.quantize_input(x), self.quantized_weight(), self.bias)
