"""Any ``torch.nn.Module`` from images to logits, as an MMEngine model."""

import importlib
from typing import Any

from torch import Tensor, nn

from mmptq.classifiers.base import ImageClassifier
from mmptq.errors import ConfigError
from mmptq.registry import MODELS

NETWORK = "network."


@MODELS.register_module()
class ModuleClassifier(ImageClassifier):
    """A plain module, made by a function or class that a config names.

    .. code-block:: python

        model = dict(type='mmptq.QuantClassifier', classifier_type='mmptq.ModuleClassifier',
                     module='my_package.nets:make_net', width=32)   # make_net(width=32)

    Layers are called ``network.<name>``. A state dict of the plain module loads as it is.

    Args:
        module: ``'package.path:factory'``, or a module; maps ``(N, 3, H, W)`` to ``(N, C)``.
        image_size: Side of the images on which the model is traced; ``None``: as the data have it.
        data_preprocessor: As for MMEngine's ``BaseModel``.
        kwargs: For the factory.

    Raises:
        ConfigError: There is no such factory, it fails, or it returns no module.
    """

    def __init__(
        self,
        module: str | nn.Module,
        image_size: int | None = 224,
        data_preprocessor: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.image_size = image_size
        self.network = module if isinstance(module, nn.Module) else _make(module, kwargs)
        self.register_load_state_dict_pre_hook(_add_prefix)

    def logits(self, images: Tensor) -> Tensor:
        """What the module gives."""
        return self.network(images)


def _make(path: str, kwargs: dict[str, Any]) -> nn.Module:
    key = f"model.module = {path!r}"
    package, colon, name = path.partition(":") if isinstance(path, str) else ("", "", "")
    if not (package and colon and name):
        raise ConfigError(f"{key}: must be 'package.path:factory'")
    try:
        factory = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}: {error}; is its folder on PYTHONPATH?") from error
    try:
        module = factory(**kwargs)
    except TypeError as error:
        raise ConfigError(f"{key}: {error}; all other keys of model go to it") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{key}: returns a {type(module).__name__}, not a torch.nn.Module")
    return module


def _add_prefix(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Load hook: a state dict of the plain module gets the name under which it is kept."""
    if not any(key.startswith(prefix + NETWORK) for key in state_dict):
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[prefix + NETWORK + key[len(prefix) :]] = state_dict.pop(key)
