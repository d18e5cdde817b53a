"""An exported model measured by the config's own test."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from mmptq.adapters import find_adapter
from mmptq.errors import ConfigError
from mmptq.export.parts import PARTS
from mmptq.runtime import Session


def test_session(
    model: nn.Module, session: Session, measure: Callable[[], dict[str, float]]
) -> tuple[dict[str, float], float]:
    """Metrics, and seconds an image in the runtime.

    Args:
        model: The detector or classifier that is measured; its weights take no part.
        session: The exported model.
        measure: Runs the test.

    Raises:
        ConfigError: The file is not of this model.
    """
    _check(session, type(model).__name__)
    part = PARTS[session.metadata["part"]](model).eval()
    seconds: list[float] = []

    def network(image: Tensor) -> list[Tensor]:
        array = image.cpu().numpy()
        start = time.perf_counter()
        found = session.run({session.inputs[0]: array})
        seconds.append((time.perf_counter() - start) / len(array))
        return [torch.from_numpy(np.array(found[n])).to(image.device) for n in session.outputs]

    with part.computed_by(network, find_adapter(model).trace_image()):
        return measure(), sum(seconds) / max(len(seconds), 1)


def _check(session: Session, model: str) -> None:
    found = session.metadata.get("model")
    if found is None:
        raise ConfigError("the .onnx file was not written by tools/export.py: it has no metadata")
    if found != model:
        raise ConfigError(
            f"the .onnx file is of a {found}, the config's model is a {model}; give the config "
            "that it was exported with"
        )
