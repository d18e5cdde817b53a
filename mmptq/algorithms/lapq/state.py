"""Telling whether two runs start from the same model."""

import hashlib

import torch
from torch import Tensor

from mmptq.models import QuantModel


def model_digest(model: QuantModel) -> str:
    """Hash of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
