"""Modules that a stock config cannot be narrowed without."""

from typing import Any

from mmdet.models.backbones import SSDVGG, Darknet
from mmdet.models.dense_heads import SSDHead
from mmdet.registry import MODELS
from torch import nn

DIVISOR = 16


@MODELS.register_module()
class NarrowSSDVGG(SSDVGG):
    """``SSDVGG`` with a sixteenth of the channels."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        narrow(self)


@MODELS.register_module()
class NarrowDarknet(Darknet):
    """``Darknet`` with a sixteenth of the channels."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        narrow(self)


@MODELS.register_module()
class MendedSSDHead(SSDHead):
    """``SSDHead`` as MMDetection 3.3 meant it: its own test script stops at this attribute."""

    loss_cls = None


def narrow(parent: nn.Module) -> None:
    """Replace all convolutions and norms by such of fewer channels; the image keeps its three."""
    for name, module in parent.named_children():
        if isinstance(module, nn.Conv2d):
            new: nn.Module = nn.Conv2d(
                fewer(module.in_channels),
                fewer(module.out_channels),
                module.kernel_size,
                module.stride,
                module.padding,
                module.dilation,
                bias=module.bias is not None,
            )
            setattr(parent, name, new)
        elif isinstance(module, nn.BatchNorm2d):
            setattr(parent, name, nn.BatchNorm2d(fewer(module.num_features)))
        else:
            narrow(module)


def fewer(channels: int) -> int:
    """Number of channels in the narrow form."""
    return channels if channels == 3 else max(channels // DIVISOR, 1)
