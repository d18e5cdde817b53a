"""Any backbone of MMDetection with a linear head on its pooled last feature map."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmptq.classifiers.base import ImageClassifier
from mmptq.errors import ConfigError
from mmptq.registry import MODELS

_PROBE_SIZE = 64  # of the image that shows how many channels the backbone gives


class LinearHead(nn.Module):
    """Mean over positions, then a linear layer (``fc``, as in mmpretrain's checkpoints).

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of classes.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a feature map ``(N, C, H, W)`` or of tokens ``(N, L, C)``."""
        return self.fc(x.mean(dim=(2, 3) if x.dim() == 4 else 1))


@MODELS.register_module()
class BackboneClassifier(ImageClassifier):
    """A backbone and a linear head.

    Its tensors are named as in mmpretrain (``backbone.*``, ``head.fc.*``), whose checkpoints load
    where MMDetection's backbone has the same tensors.

    Args:
        backbone: Config of a backbone of MMDetection (``ResNet``, ``SwinTransformer``, ...); its
            last feature map is used.
        num_classes: Number of classes.
        image_size: Side of the images on which the model is traced.
        data_preprocessor: As for MMEngine's ``BaseModel``.
        init_cfg: The same.

    Raises:
        ConfigError: The backbone cannot be built.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        num_classes: int = 1000,
        image_size: int = 224,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.image_size = image_size
        try:
            self.backbone = ROOT_MODELS.build({"_scope_": "mmdet", **backbone})
        except (KeyError, TypeError, AssertionError) as error:
            raise ConfigError(f"model.backbone = {dict(backbone)!r}: {error}") from error
        self.head = LinearHead(self._num_channels(), num_classes)

    def logits(self, images: Tensor) -> Tensor:
        """``(N, C)`` of ``(N, 3, H, W)``."""
        return self.head(self._last_features(images))

    def _last_features(self, images: Tensor) -> Tensor:
        features = self.backbone(images)
        return features if isinstance(features, Tensor) else features[-1]

    @torch.no_grad()
    def _num_channels(self) -> int:
        self.backbone.eval()
        x = self._last_features(torch.zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE))
        self.backbone.train()
        return x.shape[1 if x.dim() == 4 else -1]
