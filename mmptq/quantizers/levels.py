"""Quantizers whose levels are not evenly spaced."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mmptq.errors import ConfigError
from mmptq.ops import QuantScheme
from mmptq.quantizers.uniform import UniformQuantizer

LEAST_BITS = 2.0


class LevelQuantizer(UniformQuantizer):
    r"""Gives each value the nearest of ``2**num_bits`` levels, which the range decides.

    The levels are :math:`s u_k`: a step :math:`s` and *units* :math:`u_k`, of which 0 is one. Both
    are in the state dict. All that scales or learns the step of a uniform quantizer works here,
    too: it scales all levels. Activations only, one step for the whole tensor. No runtime computes
    with such codes, so a model with one is not exported.

    A subclass says what a range means (:meth:`levels`) and which ranges are worth trying
    (:meth:`candidates`); an observer takes the one with the least error.

    Args:
        num_bits: Whole or real bit-width in [2, 16].
        symmetric: Has no meaning here.
        ch_axis: Must be ``None``.
        num_channels: Must be ``None``.

    Raises:
        ConfigError: A step for each channel, or less than 2 bits, were asked for.
    """

    exportable = False
    units: Tensor

    def __init__(
        self,
        num_bits: float,
        symmetric: bool = True,
        ch_axis: int | None = None,
        num_channels: int | None = None,
    ) -> None:
        if ch_axis is not None:
            raise ConfigError(
                f"qconfig: {type(self).__name__} has one step for the whole tensor, not one for "
                "each channel; set per_channel='none' for this activation"
            )
        self._check_bits(num_bits)
        super().__init__(num_bits, symmetric)
        ones = torch.ones(1)
        self.register_buffer("units", torch.full_like(self.levels(ones, ones, self.scheme)[0], 0.0))

    @abstractmethod
    def levels(self, low: Tensor, high: Tensor, scheme: QuantScheme) -> Tensor:
        """The levels of each range, ascending: ``(K,)`` and ``(K,)`` to ``(K, L)``."""

    @abstractmethod
    def candidates(self, low: float, high: float) -> tuple[Tensor, Tensor]:
        """Ranges to try for a tensor with these extremes, both ``(K,)``.

        Raises:
            ConfigError: There is no level for some of its values.
        """

    @override
    def scheme_for(self, low: Tensor) -> QuantScheme:
        return self.scheme

    @override
    def params_for(self, low: Tensor, high: Tensor, scheme: QuantScheme) -> tuple[Tensor, Tensor]:
        scale = torch.maximum(low.abs(), high.abs()) / scheme.levels
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return scale, torch.zeros_like(scale)

    @override
    def units_for(self, low: Tensor, high: Tensor, scheme: QuantScheme) -> Tensor:
        scale, _ = self.params_for(low, high, scheme)
        return self.levels(low.reshape(1), high.reshape(1), scheme)[0] / scale

    @override
    def forget_range(self) -> None:
        super().forget_range()
        self.units.zero_()

    @override
    def set_num_bits(self, num_bits: float) -> None:
        self._check_bits(num_bits)
        super().set_num_bits(num_bits)

    @override
    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled:
            return x
        steps = x / self.scale
        if torch.is_grad_enabled() and (x.requires_grad or self.scale.requires_grad):
            inside = steps.clamp(self.units[0], self.units[-1])
            return (inside + (nearest(steps, self.units) - inside).detach()) * self.scale
        return nearest(steps, self.units).mul_(self.scale)

    @override
    def quantize(self, x: Tensor) -> Tensor:
        return nearest_index(x / self.scale, self.units).to(x.dtype).detach()

    @override
    def fingerprint(self) -> tuple[object, ...]:
        return (*super().fingerprint(), self.units.data_ptr(), self.units._version)

    @override
    def _fit_levels(self) -> None:
        super()._fit_levels()
        units = self.units_for(self.range_low, self.range_high, self.scheme)
        if units.shape == self.units.shape:
            self.units.copy_(units)
        else:
            self.register_buffer("units", units)

    def _check_bits(self, num_bits: Any) -> None:
        if num_bits < LEAST_BITS:
            raise ConfigError(
                f"qconfig.act.num_bits = {num_bits:g}: {type(self).__name__} takes "
                f"{LEAST_BITS:g} bits or more"
            )


def nearest_index(steps: Tensor, units: Tensor) -> Tensor:
    """Position of the nearest of the ascending ``units`` ``(L,)``, the lower of two, int64."""
    return torch.bucketize(steps.contiguous(), (units[1:] + units[:-1]) / 2)


def nearest(steps: Tensor, units: Tensor) -> Tensor:
    """The nearest of ``units`` ``(L,)`` for each value of ``steps``, in a tensor of its own."""
    return units[nearest_index(steps, units)]


def multiples(count: float) -> Tensor:
    """``0, 1, ...`` up to ``count``, and ``count`` itself where it is not whole."""
    whole = torch.arange(int(count) + 1, dtype=torch.float32)
    return whole if count == int(count) else torch.cat([whole, torch.tensor([float(count)])])
