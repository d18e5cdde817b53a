"""The quantizer of probabilities: levels that are the powers of a base, and zero."""

import torch
from torch import Tensor
from typing_extensions import override

from mmptq.errors import ConfigError
from mmptq.ops import QuantScheme
from mmptq.quantizers.levels import LevelQuantizer, multiples
from mmptq.registry import QUANTIZERS

_MOST_OCTAVES = 30.0


@QUANTIZERS.register_module()
class LogQuantizer(LevelQuantizer):
    r"""Levels :math:`h a^{-k}`, :math:`k = 0 \ldots 2^b - 2`, and 0.

    Softmax gives few large probabilities and very many small ones, which even steps all make zero.
    FQ-ViT (Lin et al. 2022, eq. 6) takes the base :math:`a = 2`; here the base is searched for each
    tensor, as in AdaLog (Wu et al. 2024), and so is the largest level :math:`h`. A range is
    :math:`(l, h)` with :math:`l` the smallest level above 0, hence :math:`a = (h / l)^{1 / (2^b -
    2)}`; an :math:`l` that is not positive stands for :math:`a = 2`, within 30 octaves.

    Arguments and errors: those of :class:`~mmptq.quantizers.levels.LevelQuantizer`.
    """

    @override
    def levels(self, low: Tensor, high: Tensor, scheme: QuantScheme) -> Tensor:
        count = scheme.levels - 1.0
        least = high * 2.0 ** -min(count, _MOST_OCTAVES)
        low = torch.where(low > 0, torch.minimum(low, high), least)
        ratio = (low / high.clamp(min=torch.finfo(high.dtype).tiny)).double()
        exponents = multiples(count).to(ratio).flip(0) / count
        powers = ratio[:, None] ** exponents * high[:, None].double()
        return torch.cat([torch.zeros_like(powers[:, :1]), powers], dim=1).to(high.dtype)

    @override
    def candidates(self, low: float, high: float) -> tuple[Tensor, Tensor]:
        if low < 0:
            raise ConfigError(
                f"qconfig.act.type = 'LogQuantizer': a tensor with values down to {low:g} reads "
                "through it, and it has no negative level; choose it for role='softmax' only"
            )
        shares = 2.0 ** -(torch.arange(25) / 6.0)
        octaves = torch.arange(2.0, _MOST_OCTAVES + 0.5, 0.5)
        tops = (high * shares)[:, None].expand(-1, len(octaves))
        return (tops * 2.0**-octaves).flatten(), tops.flatten()
