"""timm's networks."""

from collections.abc import Sequence
from typing import Any

from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmptq.classifiers.named_network import NamedClassifier
from mmptq.registry import MODELS

SCHEME = "timm://"


@MODELS.register_module()
class TimmClassifier(NamedClassifier):
    """A network of timm, by its name there.

    .. code-block:: python

        model = dict(type='mmptq.QuantClassifier', classifier_type='mmptq.TimmClassifier',
                     model_name='resnet18')
        load_from = 'timm://resnet18.a1_in1k'   # downloaded by timm; or a file

    Arguments: those of :class:`~mmptq.classifiers.named_network.NamedClassifier`.
    """

    package = "timm"
    install = "pip install 'mmptq[timm]'"
    size_key = "img_size"
    weights = "'timm://NAME' (which timm downloads) or a file"

    @classmethod
    def make(cls, model_name: str, **kwargs: Any) -> nn.Module:
        """The network, with random weights."""
        return cls.imported().create_model(model_name, pretrained=False, **kwargs)

    @classmethod
    def names(cls) -> Sequence[str]:
        """All names of networks."""
        return cls.imported().list_models()

    def published(
        self, network: nn.Module, model_name: str
    ) -> tuple[int, Sequence[float], Sequence[float]]:
        """As ``pretrained_cfg`` of the network says."""
        cfg: Any = network.pretrained_cfg
        return cfg["input_size"][-1], cfg["mean"], cfg["std"]


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)
def load_from_timm(filename: str, map_location: Any = None) -> dict[str, Tensor]:
    """MMEngine's loader of ``timm://NAME``: the weights that timm has by that name.

    Args:
        filename: ``timm://resnet18.a1_in1k``.
        map_location: Not needed: the weights are on the CPU.
    """
    timm = TimmClassifier.imported()
    return timm.create_model(filename.removeprefix(SCHEME), pretrained=True).state_dict()
