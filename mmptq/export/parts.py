"""The part of a model that becomes one graph, and how to let something else compute it."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector, SingleStageDetector
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mmptq.errors import ConfigError
from mmptq.modules import QuantLayer

Network = Callable[[Tensor], Sequence[Tensor]]

INPUT = "image"
SIZES = {0: "n", 2: "height", 3: "width"}


class Part(nn.Module):
    """Preprocessed images ``(N, 3, H, W)`` to a flat tuple of tensors.

    Args:
        model: Float or quantized, an MMEngine model.

    Attributes:
        name: As on the command line.
    """

    name: str

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def compute(self, image: Tensor) -> Any:
        """What the part computes, in the model's own nested form."""

    def outputs(self, image: Tensor) -> Any:
        """:meth:`compute` in a new pass of the model."""
        for module in self.modules():
            if isinstance(module, QuantLayer):
                module.reset_calls()
        return self.compute(image)

    @abstractmethod
    def output_names(self, image: Tensor) -> list[str]:
        """A name for each tensor that :meth:`forward` returns."""

    @abstractmethod
    def replaced(self, compute: Callable[[Tensor], Any]) -> Mapping[tuple[nn.Module, str], Any]:
        """Methods that make the model take its outputs from ``compute``; all else is its own."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The tensors of :meth:`outputs`, in their order."""
        return tuple(leaf for leaf in pytree.tree_leaves(self.outputs(image)) if _is_tensor(leaf))

    @contextmanager
    def computed_by(self, network: Network, image: Tensor) -> Iterator[None]:
        """Let the model take the part's outputs from ``network``.

        Args:
            network: Images to the tensors that :meth:`forward` returns.
            image: An example, for the form of the outputs.
        """
        with torch.no_grad():
            leaves, form = pytree.tree_flatten(self.outputs(image))

        def from_network(image: Tensor) -> Any:
            found = iter(network(image))
            return pytree.tree_unflatten(
                [next(found) if _is_tensor(leaf) else leaf for leaf in leaves], form
            )

        methods = self.replaced(from_network)
        for (module, name), method in methods.items():
            setattr(module, name, method)
        try:
            yield
        finally:
            # The attributes of the instances go, the classes' methods are back.
            for module, name in methods:
                delattr(module, name)


class HeadsPart(Part):
    """A single-stage detector up to what its head's ``forward`` returns.

    Raises:
        ConfigError: The detector has several stages: what lies between them is no network.
    """

    name = "heads"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        if not isinstance(model, SingleStageDetector):
            raise ConfigError(
                f"model.type = {type(model).__name__}: only single-stage detectors have a network "
                "that is one graph from the image to the raw head outputs"
            )

    def compute(self, image: Tensor) -> Any:
        """The head's own nested outputs."""
        model: Any = self.model
        return model.bbox_head.forward(model.extract_feat(image))

    def output_names(self, image: Tensor) -> list[str]:
        """``kind<i>_level<j>`` where the head returns lists of levels."""
        outputs = self.outputs(image)
        if isinstance(outputs, Tensor) or not isinstance(outputs, list | tuple):
            outputs = (outputs,)
        names = []
        for i, kind in enumerate(outputs):
            leaves = [leaf for leaf in pytree.tree_leaves(kind) if _is_tensor(leaf)]
            names += [f"kind{i}_level{j}" for j in range(len(leaves))]
        return names

    def replaced(self, compute: Callable[[Tensor], Any]) -> Mapping[tuple[nn.Module, str], Any]:
        """The features are the image, and the head's forward is ``compute``."""
        model: Any = self.model
        return {(model, "extract_feat"): lambda image: image, (model.bbox_head, "forward"): compute}


class ClassifierPart(Part):
    """A classifier's logits."""

    name = "classifier"

    def compute(self, image: Tensor) -> Any:
        """``(N, classes)``."""
        return self.model(image, None, mode="tensor")

    def output_names(self, image: Tensor) -> list[str]:
        """One."""
        return ["scores"]

    def replaced(self, compute: Callable[[Tensor], Any]) -> Mapping[tuple[nn.Module, str], Any]:
        """The method that every classifier computes its logits by."""
        if not hasattr(self.model, "logits"):
            raise ConfigError(
                f"model.type = {type(self.model).__name__}: its logits have no method of their "
                "own, in whose place a runtime could stand"
            )
        return {(self.model, "logits"): compute}


PARTS: dict[str, type[Part]] = {"heads": HeadsPart, "classifier": ClassifierPart}


def default_part(model: nn.Module) -> str:
    """The part that is exported where none is named."""
    return "heads" if isinstance(model, BaseDetector) else "classifier"


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)
