"""A session in a runtime in the place of a part."""

import time

import numpy as np
import torch
from torch import Tensor

from mmptq.runtime import Session


class SessionNetwork:
    """What a part's ``forward`` takes and returns, computed by a runtime.

    Args:
        session: The exported part.
        inputs: Names of the part's inputs.

    Attributes:
        seconds: Of each call, divided by its images.
    """

    def __init__(self, session: Session, inputs: tuple[str, ...]) -> None:
        self.session, self.inputs = session, inputs
        self.seconds: list[float] = []

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """Outputs in their order."""
        arrays = {
            name: tensor.to("cpu", torch.float32).numpy()
            for name, tensor in zip(self.inputs, tensors, strict=True)
            if name in self.session.inputs  # a detector that clips no boxes reads no sizes
        }
        start = time.perf_counter()
        found = self.session.run(arrays)
        self.seconds.append((time.perf_counter() - start) / len(tensors[0]))
        device = tensors[0].device
        return [torch.from_numpy(np.array(found[name])).to(device) for name in self.session.outputs]
