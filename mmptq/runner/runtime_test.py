"""An exported model measured by the config's own test."""

from collections.abc import Callable

import torch
from torch import nn

from mmptq.adapters import find_adapter
from mmptq.errors import ConfigError
from mmptq.export.kinds import make_part
from mmptq.export.network import SessionNetwork
from mmptq.export.parts import INPUT, SIZE
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
    part = make_part(model, session.metadata["part"])
    network = SessionNetwork(session, part.inputs)
    image = find_adapter(model).trace_image()
    example = {INPUT: image, SIZE: torch.tensor([image.shape[2:]], dtype=torch.float32)}
    with part.computed_by(network, example):
        return measure(), sum(network.seconds) / max(len(network.seconds), 1)


def _check(session: Session, model: str) -> None:
    found = session.metadata.get("model")
    if found is None:
        raise ConfigError("the .onnx file was not written by tools/export.py: it has no metadata")
    if found != model:
        raise ConfigError(
            f"the .onnx file is of a {found}, the config's model is a {model}; give the config "
            "that it was exported with"
        )
