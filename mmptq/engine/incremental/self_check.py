"""Is a model's training loss a function of its outputs? Tried once, before any long work."""

import math
from typing import Any

import torch
from torch import Tensor

from mmptq.adapters import Adapter
from mmptq.adapters.passes import FrozenPass
from mmptq.engine.incremental.objectives import total_loss
from mmptq.errors import ConfigError, MmptqError

_INSTEAD = "use the objective 'OutputDistance', which needs no labels"


@torch.no_grad()
def check_task_loss(adapter: Adapter, batch: Any, path: str) -> None:
    """Compute the loss of one batch twice.

    Args:
        adapter: Of the float model, in eval mode.
        batch: Collated, with labels.
        path: Of its first image, for messages.

    Raises:
        CalibrationDataError: The image has no labels.
        ConfigError: The loss fails, is not finite, or differs from call to call.
    """
    kind = type(adapter.model).__name__
    adapter.start_pass()
    try:
        data = adapter.preprocess(batch, with_labels=True)
        inputs, samples = data["inputs"], data["data_samples"]
        adapter.check_labels(samples, path)
        frozen = adapter.freeze(inputs, samples, with_labels=True)
        values = [_value(adapter, inputs, frozen) for _ in range(2)]
    except MmptqError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else "no details"
        raise ConfigError(
            f"the training loss of the {kind} fails on the calibration image {path}: "
            f"{type(error).__name__}: {reason}; {_INSTEAD}"
        ) from error
    if not all(math.isfinite(value) for value in values):
        raise ConfigError(
            f"the training loss of the {kind} is {values[0]} on the calibration image {path}; "
            f"check its boxes, or {_INSTEAD}"
        )
    if values[0] != values[1]:
        raise ConfigError(
            f"the training loss of the {kind} remembers: equal outputs gave {values[0]:.6g} and "
            f"then {values[1]:.6g}; {_INSTEAD}"
        )


def _value(adapter: Adapter, inputs: Tensor, frozen: FrozenPass) -> float:
    adapter.start_pass()
    return total_loss(adapter.loss(inputs, frozen))
