"""mmcv's deformable convolutions: taken apart where needed, and their quantized form."""

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from mmptq.modules.layer import QuantLayer
from mmptq.modules.sharing import share


class QuantDeformable(QuantLayer):
    """Mixin of mmcv's ``DeformConv2d``, which knows no bias; a norm folded into it leaves one.

    Input ``(N, C, H, W)``, quantized as it is before it is sampled between its pixels, then the
    offsets, which stay float. Output as the original's.
    """

    bias: Tensor | None

    @classmethod
    def from_float(cls, layer: nn.Module) -> Self:
        """Make one that shares the parameters of ``layer``."""
        new = super().from_float(layer)
        if "bias" not in new._parameters:
            new.register_parameter("bias", None)
        return new

    def _product(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        output = super()._product(x, *args, **kwargs)
        return output if self.bias is None else output + self.bias.view(-1, 1, 1)


class ExpandedDeformPack(nn.Module):
    """A deformable convolution with the convolution that computes its offsets, as two modules.

    Both read the same tensor, each through its quantizer. It computes what mmcv's
    ``DeformConv2dPack`` or ``ModulatedDeformConv2dPack`` does and shares its parameters.
    """

    def __init__(self, conv_offset: nn.Module, deform: nn.Module, modulated: bool) -> None:
        super().__init__()
        self.conv_offset, self.deform, self.modulated = conv_offset, deform, modulated

    @classmethod
    def from_float(cls, pack: nn.Module) -> "ExpandedDeformPack":
        """Take ``pack`` apart."""
        given_offsets = type(pack).__bases__[0]
        deform: nn.Module = share(given_offsets, pack)
        conv_offset = deform._modules.pop("conv_offset")
        assert conv_offset is not None
        new = cls(conv_offset, deform, given_offsets.__name__ == "ModulatedDeformConv2d")
        new.training = pack.training
        return new

    def forward(self, x: Tensor) -> Tensor:
        """As the original's: ``(N, C, H, W)`` to ``(N, C', H', W')``."""
        offsets = self.conv_offset(x)
        if not self.modulated:
            return self.deform(x, offsets)
        vertical, horizontal, mask = offsets.chunk(3, dim=1)
        return self.deform(x, torch.cat((vertical, horizontal), dim=1), mask.sigmoid())
