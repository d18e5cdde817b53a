"""Quantized 2-D convolution."""

from typing import cast

from torch import Tensor, nn

from mmptq.modules.layer import QuantLayer


class QuantConv2d(QuantLayer, nn.Conv2d):
    """``nn.Conv2d`` on a quantized input with a quantized weight; the bias stays float.

    Input ``(N, C, H, W)``, output as the original's.
    """

    @classmethod
    def from_float(cls, conv: nn.Conv2d) -> "QuantConv2d":
        """Make one that shares the parameters of ``conv``."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer.__dict__.update(
            {k: v for k, v in conv.__dict__.items() if not k.startswith("_") or k in _PRIVATE}
        )
        layer.register_parameter("weight", cast(nn.Parameter, conv.weight))
        layer.register_parameter("bias", cast("nn.Parameter | None", conv.bias))
        layer._init_quantizers()
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Compute with what the quantizers make of ``x`` and the weight."""
        return self._conv_forward(self.quantize_input(x), self.quantized_weight(), self.bias)


# What nn.Conv2d derives from its arguments and keeps under private names.
_PRIVATE = ("_reversed_padding_repeated_twice",)
