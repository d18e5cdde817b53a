"""A part beside itself in float64: what rounding alone decides."""

import copy

from torch import Tensor

from mmptq.export.detections import Detections
from mmptq.export.parts import Example, Part
from mmptq.export.post_processing import traceable


class Float64:
    """A copy of a part that computes in float64.

    Args:
        part: Stays as it is.
    """

    def __init__(self, part: Part) -> None:
        self._part = copy.deepcopy(part).double()

    def outputs(self, example: Example) -> tuple[Tensor, ...]:
        """What the part returns."""
        return self._part(*self._part.arguments(_doubled(example)))

    def detections(self, example: Example) -> Detections:
        """What the whole model finds."""
        # mmcv's kernels of post-processing know float32 only.
        with traceable():
            return self._part.detections(_doubled(example))


def _doubled(example: Example) -> Example:
    return {name: tensor.double() for name, tensor in example.items()}
