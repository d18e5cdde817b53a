"""Telling whether two runs start from the same model."""

import hashlib

import torch
from torch import Tensor

from mmptq.models import QuantModel


def model_digest(model: QuantModel, ranges: bool) -> str:
    """Hash of all parameters and buffers, with or without those of the quantizers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not ranges and "_quantizer" in name:
            continue
        digest.update(name.encode())
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
