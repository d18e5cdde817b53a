"""Short hashes of a model's state: what was computed from one model does not hold for another."""

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mmptq.models.quant_model import QuantModel


def state_digest(items: Iterable[tuple[str, Any]]) -> str:
    """Hash of named tensors, in their order; of what is no tensor, the name alone."""
    digest = hashlib.sha256()
    for name, value in items:
        digest.update(name.encode())
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def model_digest(model: QuantModel, ranges: bool) -> str:
    """Hash of all parameters and buffers, with or without those of the quantizers."""
    items = sorted(model.state_dict().items())
    return state_digest(item for item in items if ranges or "_quantizer" not in item[0])
