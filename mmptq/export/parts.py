"""The part of a model that becomes one graph, and how to let something else compute it."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mmptq.errors import ConfigError
from mmptq.export.attributes import attribute
from mmptq.export.detections import Detections, detect
from mmptq.modules import QuantLayer

Network = Callable[..., Sequence[Tensor]]
Example = Mapping[str, Tensor]  # a tensor for each input

INPUT = "image"
SIZE = "size"  # of each image without padding: height, width
SIZES = {0: "n", 2: "height", 3: "width"}


class Nested:
    """Nested outputs of a model, whose tensors can be exchanged.

    Args:
        value: Tensors and anything else, in lists, tuples and dicts.
    """

    def __init__(self, value: Any) -> None:
        self._leaves, self._form = pytree.tree_flatten(value)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """In their order."""
        return tuple(leaf for leaf in self._leaves if isinstance(leaf, Tensor))

    def filled(self, tensors: Iterable[Tensor]) -> Any:
        """The same nest of other tensors."""
        found = iter(tensors)
        leaves = [next(found) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        return pytree.tree_unflatten(leaves, self._form)


@dataclass(frozen=True)
class Piece:
    """What is exported in one go.

    Args:
        module: Takes and returns tensors.
        inputs: Their names; those that an earlier piece returns are taken from there.
        outputs: Names of what it returns.
        examples: A tensor for each input.
        axes: Of inputs and outputs, axes of any size with the sizes' names.
        each_image: ``module`` takes and returns one image's tensors, without an axis for images.
    """

    module: nn.Module
    inputs: Sequence[str]
    outputs: Sequence[str]
    examples: Sequence[Tensor]
    axes: Mapping[str, Mapping[int, str]]
    each_image: bool = False

    @property
    def name(self) -> str:
        """In the graph."""
        return type(self.module).__name__.lower()


class Part(nn.Module):
    """Preprocessed images to a flat tuple of tensors.

    Args:
        model: Float or quantized, an MMEngine model.

    Attributes:
        name: As on the command line.
        inputs: Names of what :meth:`forward` takes; :meth:`arguments` finds them in an example.
    """

    name: str
    inputs: tuple[str, ...] = (INPUT,)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Simulated outputs in a new pass of the model."""

    @abstractmethod
    def pieces(self, example: Example, static: bool) -> list[Piece]:
        """What the graph is made of, in the order of execution.

        Args:
            example: Preprocessed image.
            static: Whether the graph is for images of this size only.
        """

    @abstractmethod
    def computed_by(self, network: Network, example: Example) -> AbstractContextManager[None]:
        """Let the model take the part's outputs from ``network`` in a context; all else is its own.

        Args:
            network: Takes and returns what :meth:`forward` does.
            example: For the form of the outputs.
        """

    def detections(self, example: Example) -> Detections:
        """What the whole model finds in one image, in a new pass."""
        self.start_pass()
        (found,) = detect(self.model, example[INPUT], example[SIZE])
        return Detections(found.bboxes.float(), found.scores.float(), found.labels)

    def arguments(self, example: Example) -> list[Tensor]:
        """What :meth:`forward` takes, of ``example``."""
        return [example[name] for name in self.inputs]

    def start_pass(self) -> None:
        """Let every layer count its calls anew."""
        for module in self.modules():
            if isinstance(module, QuantLayer):
                module.reset_calls()


class NetworkPart(Part):
    """A part that is a network: one image tensor to the nested outputs of some method."""

    @abstractmethod
    def compute(self, image: Tensor) -> Any:
        """What the part computes, in the model's own nested form."""

    @abstractmethod
    def output_names(self, example: Example) -> list[str]:
        """A name for each tensor that :meth:`forward` returns."""

    @abstractmethod
    def replaced(self, compute: Callable[[Tensor], Any]) -> Mapping[tuple[nn.Module, str], Any]:
        """Methods that make the model take its outputs from ``compute``; all else is its own."""

    def nested(self, image: Tensor) -> Nested:
        """:meth:`compute` in a new pass of the model."""
        self.start_pass()
        return Nested(self.compute(image))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The tensors of :meth:`nested`, in their order."""
        return self.nested(*inputs).tensors

    def pieces(self, example: Example, static: bool) -> list[Piece]:
        """One."""
        names = self.output_names(example)
        axes = {} if static else {INPUT: SIZES, **{name: {0: SIZES[0]} for name in names}}
        return [Piece(self, self.inputs, names, self.arguments(example), axes)]

    @contextmanager
    def computed_by(self, network: Network, example: Example) -> Iterator[None]:
        """As in the base class."""
        with torch.no_grad():
            form = self.nested(example[INPUT])
        methods = self.replaced(lambda image: form.filled(network(image)))
        with ExitStack() as stack:
            for (module, name), method in methods.items():
                stack.enter_context(attribute(module, name, method))
            yield


class HeadsPart(NetworkPart):
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

    def output_names(self, example: Example) -> list[str]:
        """``kind<i>_level<j>`` where the head returns lists of levels."""
        self.start_pass()
        return level_names(self.compute(example[INPUT]))

    def replaced(self, compute: Callable[[Tensor], Any]) -> Mapping[tuple[nn.Module, str], Any]:
        """The features are the image, and the head's forward is ``compute``."""
        model: Any = self.model
        return {(model, "extract_feat"): lambda image: image, (model.bbox_head, "forward"): compute}


def level_names(outputs: Any, prefix: str = "") -> list[str]:
    """``kind<i>_level<j>`` for the tensors of a head's outputs: lists of levels, or one list."""
    if isinstance(outputs, Tensor) or not isinstance(outputs, list | tuple):
        outputs = (outputs,)
    return [
        f"{prefix}kind{i}_level{j}"
        for i, kind in enumerate(outputs)
        for j in range(len(Nested(kind).tensors))
    ]


class ClassifierPart(NetworkPart):
    """A classifier's logits."""

    name = "classifier"

    def compute(self, image: Tensor) -> Any:
        """``(N, classes)``."""
        return self.model(image, None, mode="tensor")

    def output_names(self, example: Example) -> list[str]:
        """One."""
        return ["scores"]

    @torch.no_grad()
    def detections(self, example: Example) -> Detections:
        """The probability of every class."""
        self.start_pass()
        (scores,) = self.compute(example[INPUT]).softmax(dim=1).float()
        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(scores), 4)
        return Detections(boxes, scores, torch.arange(len(scores)))

    def replaced(self, compute: Callable[[Tensor], Any]) -> Mapping[tuple[nn.Module, str], Any]:
        """The method that every classifier computes its logits by."""
        if not hasattr(self.model, "logits"):
            raise ConfigError(
                f"model.type = {type(self.model).__name__}: its logits have no method of their "
                "own, in whose place a runtime could stand"
            )
        return {(self.model, "logits"): compute}
