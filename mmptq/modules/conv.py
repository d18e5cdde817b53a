"""Quantized 2-D convolutions."""

from torch import nn

from mmptq.modules.layer import QuantLayer


class QuantConv2d(QuantLayer, nn.Conv2d):
    """``nn.Conv2d`` on a quantized input with a quantized weight; the bias stays float.

    Input ``(N, C, H, W)``, output as the original's.
    """


class QuantConvTranspose2d(QuantLayer, nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` on a quantized input with a quantized weight; the bias stays float.

    Input ``(N, C, H, W)``, output as the original's. Of the steps per channel see
    :func:`mmptq.modules.channels.channel_axis`.
    """
