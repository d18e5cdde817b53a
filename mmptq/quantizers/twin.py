"""The quantizer of what GELU gives: one step for small or negative values, another for large."""

import torch
from torch import Tensor
from typing_extensions import override

from mmptq.ops import QuantScheme
from mmptq.quantizers.levels import LevelQuantizer, multiples
from mmptq.registry import QUANTIZERS

_MOST_OCTAVES = 15


@QUANTIZERS.register_module()
class TwinQuantizer(LevelQuantizer):
    r"""Two ranges with a step each, the one :math:`2^m` times the other (PTQ4ViT).

    Yuan et al. 2022, section 3.1, twin uniform quantization. A range :math:`(l, h)` with a negative
    :math:`l` has half of the levels below 0, at multiples of :math:`s_1`, and half from 0 to
    :math:`h`, at multiples of :math:`s_2 = 2^m s_1`; :math:`m` is the whole number next to
    :math:`\log_2(h / |l|)`. Of a tensor without negative values the first half covers :math:`[0,
    l)` and the second all of :math:`[0, h]`, with :math:`l = 2^{-m} h`.

    Arguments and errors: those of :class:`~mmptq.quantizers.levels.LevelQuantizer`.
    """

    @override
    def levels(self, low: Tensor, high: Tensor, scheme: QuantScheme) -> Tensor:
        half = 2.0 ** (scheme.num_bits - 1.0)
        small, large = multiples(half - 1.0).to(low), multiples(half).to(low)[1:]
        tiny = torch.finfo(high.dtype).tiny
        high = torch.maximum(high, low.abs() * 2.0**-_MOST_OCTAVES).clamp(min=tiny)
        size = low.abs().clamp(min=tiny)
        # log2 of whole powers is exact, so a range that was fitted gives itself again.
        ratio = 2.0 ** (high / size).log2().round().clamp(-_MOST_OCTAVES, _MOST_OCTAVES)
        coarse = high / torch.where(low < 0, half - 1.0, half)
        fine = coarse / ratio
        negative = torch.cat([-fine[:, None] * large.flip(0), coarse[:, None] * small], dim=1)
        positive = torch.cat([fine[:, None] * small, coarse[:, None] * large], dim=1)
        return torch.where((low < 0)[:, None], negative, positive).sort(dim=1).values

    @override
    def candidates(self, low: float, high: float) -> tuple[Tensor, Tensor]:
        shares = 2.0 ** -(torch.arange(33) / 8.0)
        if low < 0:
            lows, highs = torch.meshgrid(low * shares, high * shares, indexing="ij")
            return lows.flatten(), highs.flatten()
        tops = (high * shares)[:, None].expand(-1, _MOST_OCTAVES + 1)
        return (tops * 2.0 ** -torch.arange(_MOST_OCTAVES + 1.0)).flatten(), tops.flatten()
