"""One pass of an image through a model, with all that it decides held fixed."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmptq.adapters.decisions import Decisions

Samples = list[DetDataSample]
Outputs = list[list[Tensor]]


@dataclass
class FrozenPass:
    """What an image's later passes share with the first one, that of the float model.

    Args:
        samples: The image's data samples, in the preprocessed image's frame.
        with_labels: Whether it is the pass of the training loss, or that of a prediction.
        decisions: What the model decides on the way.
    """

    samples: Samples
    with_labels: bool = False
    decisions: Decisions = field(default_factory=Decisions)


@contextmanager
def outputs_of(model: nn.Module, layers: Iterable[str]) -> Iterator[Outputs]:
    """What the layers of these names return in a pass: a list a layer, an item a call."""
    outputs: Outputs = []
    with ExitStack() as stack:
        for name in layers:
            calls: list[Tensor] = []
            outputs.append(calls)
            hook = _keep(calls)
            stack.callback(model.get_submodule(name).register_forward_hook(hook).remove)
        yield outputs


def _keep(calls: list[Tensor]) -> Any:
    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        calls.append(output)

    return hook
