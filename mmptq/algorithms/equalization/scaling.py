"""Weights that are scaled channel by channel."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmptq.modules import QuantLayer, channels_first, inputs_first


class Scaling:
    """Scales the channels of layers in float64, as often as one likes, and rounds once.

    Args:
        layers: By name; nothing is written to them before :meth:`write`.
    """

    def __init__(self, layers: Mapping[str, QuantLayer]) -> None:
        self._layers: Mapping[str, Any] = layers
        self._weights: dict[str, Tensor] = {}
        self._biases: dict[str, Tensor] = {}

    def output_range(self, name: str) -> Tensor:
        """Largest absolute weight of each output channel, ``(C,)``."""
        return _range(channels_first(self._layers[name], self._weight(name)))

    def input_range(self, name: str) -> Tensor:
        """Largest absolute weight of each input channel, ``(C,)``."""
        return _range(inputs_first(self._layers[name], self._weight(name)))

    def divide_outputs(self, name: str, factor: Tensor) -> None:
        """Divide what the layer writes by ``factor`` ``(C,)``."""
        layer = self._layers[name]
        rows = channels_first(layer, self._weight(name))
        self._weights[name] = channels_first(layer, rows / _column(factor, rows))
        if layer.bias is not None:
            bias = self._biases.get(name, layer.bias.detach().double())
            self._biases[name] = bias / factor

    def multiply_inputs(self, name: str, factor: Tensor) -> None:
        """Take from the layer's inputs that they are divided by ``factor`` ``(C,)``."""
        layer = self._layers[name]
        rows = inputs_first(layer, self._weight(name))
        self._weights[name] = inputs_first(layer, rows * _column(factor, rows))

    @torch.no_grad()
    def write(self) -> None:
        """Put the scaled weights and biases into the layers."""
        for name, weight in self._weights.items():
            self._layers[name].weight.copy_(weight)
        for name, bias in self._biases.items():
            self._layers[name].bias.copy_(bias)

    def _weight(self, name: str) -> Tensor:
        if name not in self._weights:
            self._weights[name] = self._layers[name].weight.detach().double()
        return self._weights[name]


def balancing_factor(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    r"""What ``a`` is to be divided and ``b`` multiplied by: :math:`a^\alpha / b^{1 - \alpha}`.

    With :math:`\alpha = 1/2` both ranges become :math:`\sqrt{a b}` (Nagel et al. 2019, eq. 11); for
    activations see Xiao et al. 2023 (SmoothQuant), eq. 4.

    Args:
        a: ``(C,)``, range of each channel on the side that is divided.
        b: ``(C,)``, that on the side that is multiplied.
        alpha: In [0, 1].

    Returns:
        ``(C,)`` float64; 1 where a channel is dead on one side.
    """
    a, b = a.double(), b.double()
    alive = (a > 0) & (b > 0)
    return torch.where(alive, a**alpha / b ** (1 - alpha), 1.0)


def _range(rows: Tensor) -> Tensor:
    return rows.flatten(1).abs().amax(1)


def _column(factor: Tensor, rows: Tensor) -> Tensor:
    return factor.view(-1, *[1] * (rows.dim() - 1))
