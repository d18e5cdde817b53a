"""A detector's network apart from pre- and post-processing: exported, or run by something else."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mmptq.errors import ConfigError

INPUT = "image"

Network = Callable[[Tensor], Sequence[Tensor]]


class RawHeads(nn.Module):
    """Images to what the head's ``forward`` returns, as a flat tuple of tensors.

    Args:
        detector: A single-stage detector of MMDetection.

    Raises:
        ConfigError: It has several stages: what lies between them is no network.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        if not isinstance(detector, SingleStageDetector):
            raise ConfigError(
                f"model.type = {type(detector).__name__}: only single-stage detectors are "
                "compared, whose network is one graph from the image to the raw head outputs"
            )
        self.detector = detector

    def outputs(self, image: Tensor) -> Any:
        """The head's own nested outputs for images ``(N, 3, H, W)``."""
        return self.detector.bbox_head.forward(self.detector.extract_feat(image))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The tensors of :meth:`outputs`, in their order."""
        return tuple(leaf for leaf in pytree.tree_leaves(self.outputs(image)) if _is_tensor(leaf))

    @contextmanager
    def replaced_by(self, network: Network, image: Tensor) -> Iterator[None]:
        """Let the detector take its raw outputs from ``network``; all else stays its own.

        Args:
            network: Images to the tensors that :meth:`forward` returns.
            image: An example, for the form of the outputs.
        """
        with torch.no_grad():
            leaves, form = pytree.tree_flatten(self.outputs(image))

        def outputs(image: Tensor) -> Any:
            found = iter(network(image))
            return pytree.tree_unflatten(
                [next(found) if _is_tensor(v) else v for v in leaves], form
            )

        detector, head = self.detector, self.detector.bbox_head
        detector.extract_feat, head.forward = lambda image: image, outputs
        try:
            yield
        finally:
            # The attributes of the instances go, the classes' methods are back.
            del detector.extract_feat, head.forward

    def export(self, path: Path, image: Tensor) -> None:
        """Write an ONNX graph for images of any size and number; batch norms are folded.

        Args:
            path: The file.
            image: An example ``(1, 3, H, W)``.
        """
        count = len(self(image))
        names = [f"out{i}" for i in range(count)]
        sizes = {0: "n", 2: "h", 3: "w"}
        torch.onnx.export(
            self,
            (image,),
            str(path),
            dynamo=False,  # the other exporter folds no batch norms into convolutions
            opset_version=17,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={INPUT: sizes} | {name: {0: "n"} for name in names},
        )


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)
