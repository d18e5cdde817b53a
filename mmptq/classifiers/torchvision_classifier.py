"""torchvision's classifiers."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from mmptq.classifiers.named_network import NamedClassifier
from mmptq.registry import MODELS


@MODELS.register_module()
class TorchvisionClassifier(NamedClassifier):
    """A classifier of torchvision, by its name there.

    .. code-block:: python

        model = dict(type='mmptq.QuantClassifier', classifier_type='mmptq.TorchvisionClassifier',
                     model_name='resnet18')
        load_from = 'resnet18-f37072fd.pth'   # torchvision's file

    Arguments: those of :class:`~mmptq.classifiers.named_network.NamedClassifier`. Inception-V3 and
    GoogLeNet with torchvision's weights want ``transform_input=True``.
    """

    package = "torchvision"
    install = "pip install torchvision"
    size_key = "image_size"
    weights = "a file or URL of torchvision's weights"

    @classmethod
    def make(cls, model_name: str, **kwargs: Any) -> nn.Module:
        """The network, with random weights."""
        return cls._models().get_model(model_name, weights=None, **kwargs)

    @classmethod
    def names(cls) -> Sequence[str]:
        """All names of networks."""
        models = cls._models()
        return models.list_models(module=models)

    def published(
        self, network: nn.Module, model_name: str
    ) -> tuple[int, Sequence[float], Sequence[float]]:
        """As the transforms of the default weights say."""
        transforms = self._models().get_model_weights(model_name).DEFAULT.transforms()
        return transforms.crop_size[0], transforms.mean, transforms.std

    @classmethod
    def _models(cls) -> Any:
        return cls.imported().models
