"""What the wrappers of packages that make networks by their names have in common."""

import difflib
import importlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from mmptq.classifiers.module_classifier import ModuleClassifier
from mmptq.errors import ConfigError


class NamedClassifier(ModuleClassifier):
    """A network that a package makes by its name.

    Layers are called ``network.<name>``. A state dict of the plain network loads as it is.

    Args:
        model_name: What the package calls it.
        image_size: Side of the images; a network made for one size (ViT, Swin) is made for this
            one. ``None``: the side of the images that the published weights were tested on.
        data_preprocessor: As for MMEngine's ``BaseModel``. ``None``: RGB, with the mean and the
            standard deviation of the published weights.
        pretrained: ``False``. Weights are given by ``load_from``, so that a quantized model is
            built without a download.
        kwargs: For the network, such as ``num_classes``.

    Raises:
        ConfigError: The package is missing, has no such network or does not take these arguments.
    """

    # Its name, as it is imported; how to install it; its argument for the side of the images.
    package: ClassVar[str]
    install: ClassVar[str]
    size_key: ClassVar[str]
    # What `load_from` may be.
    weights: ClassVar[str]

    def __init__(
        self,
        model_name: str,
        image_size: int | None = None,
        data_preprocessor: Any = None,
        pretrained: bool = False,
        **kwargs: Any,
    ) -> None:
        if pretrained:
            raise ConfigError(
                f"model.pretrained = {pretrained!r}: set it to False and give the float weights by "
                f"load_from, {self.weights}"
            )
        if not isinstance(model_name, str):
            raise ConfigError(f"model.model_name = {model_name!r}: must be a string")
        network = self._named(model_name, image_size, kwargs)
        side, mean, std = self.published(network, model_name)
        super().__init__(network, image_size or side, data_preprocessor or _normalising(mean, std))

    @classmethod
    def imported(cls) -> Any:
        """The package.

        Raises:
            ConfigError: It cannot be imported (tells how to install it).
        """
        try:
            return importlib.import_module(cls.package)
        except (ImportError, RuntimeError) as error:  # a RuntimeError: torchvision's, of operators
            raise ConfigError(
                f"model.type = 'mmptq.{cls.__name__}': {cls.package} cannot be imported ({error}); "
                f"{cls.install} (it needs a torchvision that fits torch: docs/install.md)"
            ) from error

    @classmethod
    @abstractmethod
    def make(cls, model_name: str, **kwargs: Any) -> nn.Module:
        """The network, with random weights."""

    @classmethod
    @abstractmethod
    def names(cls) -> Sequence[str]:
        """All names of networks."""

    @abstractmethod
    def published(
        self, network: nn.Module, model_name: str
    ) -> tuple[int, Sequence[float], Sequence[float]]:
        """Side of the images, mean and standard deviation (of 0 to 1) of the published weights."""

    @classmethod
    def _named(cls, model_name: str, image_size: int | None, kwargs: dict[str, Any]) -> nn.Module:
        cls.imported()
        names = cls.names()
        if model_name.partition(".")[0] not in names:  # timm's names end with that of the weights
            close = difflib.get_close_matches(model_name, names, n=3)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            raise ConfigError(
                f"model.model_name = {model_name!r}: {cls.package} has no such classifier{hint}"
            )
        try:
            return cls._of_size(model_name, image_size, kwargs)
        except (TypeError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"model.model_name = {model_name!r}: {error}; all other keys of model "
                f"({', '.join(kwargs) or 'none'}) go to it"
            ) from error

    @classmethod
    def _of_size(cls, model_name: str, image_size: int | None, kwargs: dict[str, Any]) -> nn.Module:
        if image_size is None:
            return cls.make(model_name, **kwargs)
        try:
            return cls.make(model_name, **{cls.size_key: image_size}, **kwargs)
        except TypeError as error:  # a network for images of any size has no such argument
            if f"'{cls.size_key}'" not in str(error):
                raise
        return cls.make(model_name, **kwargs)


def _normalising(mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """A data preprocessor for BGR images of 0 to 255."""
    return {
        "type": "ImgDataPreprocessor",
        "mean": [255 * x for x in mean],
        "std": [255 * x for x in std],
        "bgr_to_rgb": True,
    }
