"""Loading float weights, checked against the model before any work is done."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmptq.errors import CheckpointError
from mmptq.models import PLAN_KEY, QuantModel


def _history_buffer_attribute(owner: type, name: str) -> Any:
    """Stands for ``getattr`` while unpickling: HistoryBuffer refers to its own methods by it."""
    if owner is not HistoryBuffer:
        raise CheckpointError(f"refused to read attribute {name!r} of {owner!r} while unpickling")
    return getattr(HistoryBuffer, name)


# numpy 2 renamed the module that its arrays' pickled form names.
_multiarray = importlib.import_module(
    "numpy._core.multiarray" if hasattr(np, "_core") else "numpy.core.multiarray"
)

# What MMEngine's own checkpoints hold besides tensors: the training log. Allowing these few types
# keeps torch's protection (weights_only) on for everything else.
MMENGINE_TYPES = [
    HistoryBuffer,
    (_history_buffer_attribute, "builtins.getattr"),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")),
    _multiarray._reconstruct,
    _multiarray.scalar,
]


def read_state_dict(path: str) -> dict[str, Tensor]:
    """State dict of a checkpoint: MMEngine's form or a bare state dict; file or URL.

    Raises:
        CheckpointError: It cannot be read, or holds no state dict.
    """
    try:
        with torch.serialization.safe_globals(MMENGINE_TYPES):
            checkpoint = CheckpointLoader.load_checkpoint(path, map_location="cpu")
    except Exception as error:
        raise CheckpointError(
            f"cannot read the checkpoint {path} ({_reason(error)}); give a file or URL"
        ) from error
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def is_quantized(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a quantized model."""
    return any(key.endswith(PLAN_KEY) for key in state)


def read_float_checkpoint(path: str) -> dict[str, Tensor]:
    """State dict of a float checkpoint.

    Raises:
        CheckpointError: It cannot be read, holds no state dict, or is a quantized checkpoint.
    """
    try:
        state = read_state_dict(path)
    except CheckpointError as error:
        raise CheckpointError(f"the float weights (--checkpoint or load_from): {error}") from error
    if is_quantized(state):
        raise CheckpointError(
            f"{path} is a quantized checkpoint; the float one that it was made from belongs here "
            "(tools/test.py evaluates quantized checkpoints)"
        )
    return state


def _reason(error: Exception) -> str:
    """One line; of torch's page on ``weights_only`` (which advises to switch it off) the cause."""
    _, mark, after = str(error).rpartition("WeightsUnpickler error:")
    lines = [line.strip() for line in (after if mark else str(error)).splitlines()]
    lines = [line for line in lines if line and not line.startswith("Weights only load failed")]
    return f"{type(error).__name__}: {lines[0] if lines else 'no details'}"


def load_float_checkpoint(model: QuantModel, path: str) -> None:
    """Load float weights into ``model``; float16 tensors are widened.

    Raises:
        CheckpointError: Not readable, or of another model (names the first tensors that differ).
    """
    state = _fit_names(read_float_checkpoint(path), model)
    unexpected = check_state(state, model.model.state_dict(), path)
    if unexpected:
        print_log(
            f"{path} holds {len(unexpected)} tensors that the model has no use for, first "
            f"{unexpected[0]!r}",
            logger="current",
        )
    model.model.load_state_dict(state, strict=False)


def check_checkpoint(model: QuantModel, path: str) -> None:
    """Make sure that MMEngine's lenient loader will find all of ``model`` in a checkpoint.

    A quantized one checks itself when it is loaded.

    Raises:
        CheckpointError: Not readable, or a float checkpoint of another model.
    """
    state = read_state_dict(path)
    if not is_quantized(state):
        check_state(_fit_names(state, model), model.model.state_dict(), path)


def _fit_names(state: dict[str, Tensor], model: QuantModel) -> dict[str, Tensor]:
    """``state`` with the wrapped model's names: without the wrapper's, with an inner module's."""
    prefix = f"{model._name}."
    if all(key.startswith(prefix) for key in state):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    # A model that only holds another one (ModuleClassifier) takes its plain state dict.
    inner = {key.partition(".")[0] for key in model.model.state_dict()}
    if len(inner) == 1:
        prefix = f"{inner.pop()}."
        if not any(key.startswith(prefix) for key in state):
            state = {prefix + key: value for key, value in state.items()}
    return state


def check_state(state: Mapping[str, Any], own: Mapping[str, Tensor], path: str) -> list[str]:
    """Compare a state dict with the model's.

    Returns:
        Keys of ``state`` that the model lacks.

    Raises:
        CheckpointError: Tensors are missing or have other shapes.
    """
    # Checkpoints from before PyTorch 0.4.1 lack the counter, and inference does not need it.
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    if missing:
        raise CheckpointError(
            f"{path} is of another model: it lacks {len(missing)} of {len(own)} tensors, first "
            f"{missing[0]!r}; check that checkpoint and config belong together"
        )
    for key, tensor in own.items():
        if key in state and state[key].shape != tensor.shape:
            raise CheckpointError(
                f"{path} is of another model: {key} has shape {tuple(state[key].shape)} there and "
                f"{tuple(tensor.shape)} in the model; check num_classes and channels"
            )
    return [key for key in state if key not in own]
